// The audio of a source, in order, and from an earlier position again after a lost connection. Positions are bytes since the
// beginning.

export class Feed {
  end_bytes = 0; // that the source has produced

  #pieces;
  #keep_bytes;
  #kept = []; // contiguous, the last one ends at end_bytes
  #kept_bytes = 0;
  #again = [];
  #pull = null;
  #interrupt = null;
  #ended = false;

  // pieces: an async iterator of Uint8Array. The last keep_bytes are kept for rewinding, none with 0.
  constructor(pieces, keep_bytes) {
    this.#pieces = pieces;
    this.#keep_bytes = keep_bytes;
  }

  // The earliest position that `rewind` can go back to.
  get oldest_bytes() {
    return this.end_bytes - this.#kept_bytes;
  }

  // The next piece; null at the end, and when it is interrupted: then no audio is lost. Throws what the source throws.
  async next() {
    if (this.#again.length > 0) return this.#again.shift();
    if (this.#ended) return null;
    this.#pull ??= this.#pieces.next().then(
      ({ done, value }) => ({ piece: done ? null : value }),
      (error) => ({ error }),
    );
    const interrupted = new Promise((resolve) => (this.#interrupt = () => resolve(null)));
    const result = await Promise.race([this.#pull, interrupted]);
    this.#interrupt = null;
    if (result === null) return null;
    this.#pull = null;
    if (result.error !== undefined || result.piece === null) this.#ended = true;
    if (result.error !== undefined) throw result.error;
    const { piece } = result;
    if (piece === null) return null;
    this.end_bytes += piece.length;
    if (this.#keep_bytes > 0) {
      this.#kept.push(piece);
      this.#kept_bytes += piece.length;
      while (this.#kept_bytes - this.#kept[0].length >= this.#keep_bytes) this.#dropOldest();
    }
    return piece;
  }

  // A `next` that waits gives null.
  interrupt() {
    this.#interrupt?.();
  }

  // Ends the source; only `rewind` makes audio available again.
  stop() {
    this.#ended = true;
    this.interrupt();
  }

  // The next piece begins at a position between oldest_bytes and end_bytes.
  rewind(position_bytes) {
    let skip_bytes = position_bytes - this.oldest_bytes;
    if (skip_bytes < 0 || position_bytes > this.end_bytes) {
      throw new RangeError(`position: expected ${this.oldest_bytes}..${this.end_bytes}, got ${position_bytes}`);
    }
    this.#again = [...this.#kept];
    while (this.#again.length > 0 && skip_bytes >= this.#again[0].length) skip_bytes -= this.#again.shift().length;
    if (skip_bytes > 0) this.#again[0] = this.#again[0].subarray(skip_bytes);
  }

  // Drops what is kept before a position.
  forget(position_bytes) {
    while (this.#kept.length > 0 && this.oldest_bytes + this.#kept[0].length <= position_bytes) this.#dropOldest();
  }

  #dropOldest() {
    this.#kept_bytes -= this.#kept.shift().length;
  }

  // Does not wait for a source that never answers.
  close() {
    this.stop();
    void Promise.resolve(this.#pieces.return?.()).catch(() => {});
  }
}
