// A microphone as a source of audio, at the rate of the device: the server resamples.

import { Recorder } from "./recorder.js";

const BYTES_PER_S = 4000; // about, when it is compressed
const LAST_MS = 500; // the audio thread has this long to give its last samples

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

  // Opens the device; the browser asks for permission. recorded: what is sent in place of samples (recordedKind of recorder.js);
  // null: samples. worklet: the address of capture-worklet.js, where it does not lie beside this module. Throws what getUserMedia
  // throws.
  static async open({ deviceId, processing = false, recorded = null, worklet } = {}) {
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
    if (recorded !== null) {
      microphone.container = recorded.container;
      microphone.bytesPerSecond = BYTES_PER_S;
      microphone.#mimeType = recorded.mimeType;
    }
    try {
      await microphone.#connect(stream, worklet ?? new URL("./capture-worklet.js", import.meta.url));
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
  #mimeType = null;
  #mono = null;
  #recorder = null;
  #isClosed = false;
  #gaveLast = () => {};

  async #connect(stream, worklet) {
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    this.label = track.label || "microphone";
    // A context of another rate would resample, and in some browsers refuse.
    const { sampleRate } = track.getSettings();
    this.#context = new AudioContext(sampleRate ? { sampleRate } : {});
    this.sampleRate = this.#context.sampleRate;
    await this.#context.audioWorklet.addModule(worklet);
    this.#node = new AudioWorkletNode(this.#context, "capture", { numberOfOutputs: 0 });
    this.#node.port.onmessage = ({ data }) => {
      if (data === null) this.#gaveLast();
      else if (data.length > 0) this.#sink?.push(data);
    };
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(this.#node);
    if (this.#mimeType !== null) {
      // A device may give two channels although one was asked for, and a recorder would keep both.
      this.#mono = new MediaStreamAudioDestinationNode(this.#context, { channelCount: 1, channelCountMode: "explicit" });
      source.connect(this.#mono);
    }
    track.onended = () => this.#sink?.fail("device-gone");
    await this.#context.resume();
  }

  // sink: { push(Int16Array), end(), fail(reason), isFull() }. Without a sink, audio is dropped.
  start(sink) {
    this.#sink = sink;
    this.#recorder?.drop();
    if (this.#mimeType !== null) this.#recorder = new Recorder(this.#mono.stream, this.#mimeType, sink.send);
  }

  // No more is recorded. The sink has everything when the promise is kept.
  async finish() {
    if (this.#recorder !== null) return this.#recorder.stop();
    if (this.#context.state !== "running") return;
    await new Promise((resolve) => {
      this.#gaveLast = resolve;
      setTimeout(resolve, LAST_MS);
      this.#node.port.postMessage("end");
    });
  }

  // The sink gets no more; the device stays open.
  pause() {
    this.#sink = null;
    this.#recorder?.drop();
    this.#recorder = null;
  }

  // A second call has no effect.
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.pause();
    this.#node?.port.postMessage("end");
    this.#stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    void this.#context?.close();
  }
}
