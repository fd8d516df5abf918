// On the audio thread: the microphone's floats as 16 bit samples, in messages of about 30 ms.
class Capture extends AudioWorkletProcessor {
  #samples = new Int16Array(Math.round(0.03 * sampleRate));
  #filled = 0;

  process([[channel]]) {
    for (const value of channel ?? []) {
      this.#samples[this.#filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.#filled < this.#samples.length) continue;
      this.port.postMessage(this.#samples.slice());
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
