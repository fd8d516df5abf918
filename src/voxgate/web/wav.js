// A recording as a WAV file, 16 bit: the part of it that is kept.

const HEAD_BYTES = 44;

export function toWav(recording) {
  const { sampleRate, nChannels, chunks } = recording;
  const bytes = chunks.reduce((sum, { data }) => sum + data.byteLength, 0);
  const head = new DataView(new ArrayBuffer(HEAD_BYTES));
  const put = (at, text) => [...text].forEach((character, i) => head.setUint8(at + i, character.charCodeAt(0)));
  put(0, "RIFF");
  head.setUint32(4, HEAD_BYTES - 8 + bytes, true);
  put(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, nChannels, true);
  head.setUint32(24, sampleRate, true);
  head.setUint32(28, 2 * sampleRate * nChannels, true);
  head.setUint16(32, 2 * nChannels, true);
  head.setUint16(34, 16, true);
  put(36, "data");
  head.setUint32(40, bytes, true);
  return new Blob([head, ...chunks.map(({ data }) => data)], { type: "audio/wav" });
}
