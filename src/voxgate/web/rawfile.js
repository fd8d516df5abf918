// A file that this browser does not decode, but the server may: it is sent as it is, as fast as the server takes it.

const PIECE_BYTES = 64 * 1024;

// What the file looks like, by its first bytes: "webm", "mp4" and so on; null for no container of sound.
export function containerOf(bytes) {
  const head = new Uint8Array(bytes, 0, Math.min(12, bytes.byteLength));
  const tag = (at, length = 4) => String.fromCharCode(...head.subarray(at, at + length));
  if (head.length >= 4 && tag(0) === "\x1a\x45\xdf\xa3") return "webm";
  if (tag(0) === "OggS") return "ogg";
  if (tag(0) === "fLaC") return "flac";
  if (["RIFF", "RF64", "BW64"].includes(tag(0)) && tag(8) === "WAVE") return "wav";
  if (tag(0, 3) === "ID3" || (head[0] === 0xff && (head[1] & 0xe6) === 0xe2)) return "mp3";
  if (head[0] === 0xff && (head[1] & 0xf6) === 0xf0) return "aac";
  if (["ftyp", "moov", "mdat"].includes(tag(4))) return "mp4";
  return null;
}

export class RawFile {
  kind = "file";
  isLive = false;
  isHidden = true; // its samples: only the server knows them
  sampleRate = 8000; // of the picture's axis of time
  channels = 1; // until the server tells how many there are
  duration_s = null;

  format = { container: "auto" };

  #file;

  constructor(file) {
    this.label = file.name;
    this.#file = file;
  }

  async *pieces() {
    for (let at = 0; at < this.#file.size; at += PIECE_BYTES) {
      yield new Uint8Array(await this.#file.slice(at, at + PIECE_BYTES).arrayBuffer());
    }
  }

  close() {}
}
