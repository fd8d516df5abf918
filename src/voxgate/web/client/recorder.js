// Compressed audio of a stream of the browser, as it is recorded: a container that the server decodes.

const SLICE_MS = 100;
const BITS_PER_S = 32_000;

// What browsers record, the best first, and the container's name for the server.
const KINDS = [
  ["audio/webm;codecs=opus", "webm"],
  ["audio/ogg;codecs=opus", "ogg"],
  ["audio/mp4", "mp4"],
];

// { mimeType, container } of what this browser records and the server decodes; null when there is none.
export function recordedKind(containers) {
  const isSupported = (mimeType) => window.MediaRecorder?.isTypeSupported?.(mimeType) ?? false;
  const found = KINDS.find(([mimeType, container]) => containers.includes(container) && isSupported(mimeType));
  return found === undefined ? null : { mimeType: found[0], container: found[1] };
}

export class Recorder {
  #recorder;

  // take(Blob) gets the container, piece by piece.
  constructor(stream, mimeType, take) {
    this.#recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS_PER_S });
    this.#recorder.ondataavailable = ({ data }) => {
      if (data.size > 0) take(data);
    };
    this.#recorder.start(SLICE_MS);
  }

  // The last piece was taken when the promise is kept.
  stop() {
    return new Promise((resolve) => {
      if (this.#recorder.state === "inactive") resolve();
      else {
        this.#recorder.onstop = () => resolve();
        this.#recorder.stop();
      }
    });
  }

  // Nothing more is taken.
  drop() {
    this.#recorder.ondataavailable = null;
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
  }
}
