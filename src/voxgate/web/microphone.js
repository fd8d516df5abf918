// A microphone as a source of audio, at the rate of the device: the server resamples.

import { address } from "./server.js";

// Why the browser gives no microphone to this page at all; null when it may.
export function whyNoMicrophone() {
  if (!window.isSecureContext) return "insecure";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "unsupported";
  return null;
}

export async function listMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter((device) => device.kind === "audioinput");
}

export class Microphone {
  kind = "microphone";
  channels = 1;
  label = "microphone";
  isLive = true;
  duration_s = null;

  // Opens the device; the person is asked. Throws what getUserMedia throws.
  static async open({ deviceId, processing }) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        channelCount: { ideal: 1 },
        // What a call does to a voice is not what a detector should be tuned with.
        echoCancellation: processing,
        noiseSuppression: processing,
        autoGainControl: processing,
      },
    });
    const microphone = new Microphone();
    try {
      await microphone.#connect(stream);
    } catch (error) {
      microphone.close();
      throw error;
    }
    return microphone;
  }

  #stream;
  #context;
  #node;
  #sink = null;

  async #connect(stream) {
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    this.label = track.label || "microphone";
    // A context of another rate would resample, and in some browsers refuse.
    const { sampleRate } = track.getSettings();
    this.#context = new AudioContext(sampleRate ? { sampleRate } : {});
    this.sampleRate = this.#context.sampleRate;
    await this.#context.audioWorklet.addModule(address("web/capture-worklet.js"));
    this.#node = new AudioWorkletNode(this.#context, "capture", { numberOfOutputs: 0 });
    this.#node.port.onmessage = ({ data }) => {
      if (data !== null && data.length > 0) this.#sink?.push(data);
    };
    this.#context.createMediaStreamSource(stream).connect(this.#node);
    track.onended = () => this.#sink?.fail("device-gone");
    await this.#context.resume();
  }

  // sink: { push(Int16Array), end(), fail(reason), isFull() }. Without a sink, audio is dropped.
  start(sink) {
    this.#sink = sink;
  }

  // The sink gets no more; the device stays open.
  pause() {
    this.#sink = null;
  }

  close() {
    this.#sink = null;
    this.#node?.port.postMessage("end");
    this.#stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    void this.#context?.close();
  }
}
