// Lowest and highest value over time at several resolutions, so that the cost of drawing depends on the visible part alone.

const FANOUT = 4;
const N_LEVELS = 8;
const BLOCK = 4096; // steps of one level that are allocated together
const MAX_BLOCKS = 1024; // of one level: 5.8 h of 5 ms steps; older ones are forgotten

export class Pyramid {
  // step_s: time that one pushed pair stands for, seconds.
  constructor(step_s) {
    this.step_s = step_s;
    this.length = 0; // pairs pushed
    this.levels = Array.from({ length: N_LEVELS }, () => new Map());
  }

  get duration_s() {
    return this.length * this.step_s;
  }

  // Integers, -32768..32767.
  push(low, high) {
    let index = this.length++;
    for (const blocks of this.levels) {
      const number = Math.floor(index / BLOCK);
      let block = blocks.get(number);
      if (block === undefined) {
        block = new Int16Array(2 * BLOCK);
        for (let i = 0; i < block.length; i += 2) [block[i], block[i + 1]] = [32767, -32768];
        blocks.set(number, block);
        blocks.delete(number - MAX_BLOCKS);
      }
      const at = 2 * (index % BLOCK);
      if (low < block[at]) block[at] = low;
      if (high > block[at + 1]) block[at + 1] = high;
      index = Math.floor(index / FANOUT);
    }
  }

  // Lowest and highest between two times (seconds) into `out`; false when nothing is known of them.
  range(from_s, to_s, out) {
    let first = from_s / this.step_s;
    let last = Math.min(to_s / this.step_s, this.length);
    if (last <= first || last <= 0) return false;
    let level = 0;
    while (last - first > 2 * FANOUT && level < N_LEVELS - 1) {
      first /= FANOUT;
      last /= FANOUT;
      level++;
    }
    let [low, high] = [32767, -32768];
    const blocks = this.levels[level];
    const end = Math.max(Math.ceil(last), Math.floor(first) + 1);
    for (let index = Math.max(0, Math.floor(first)); index < end; index++) {
      const block = blocks.get(Math.floor(index / BLOCK));
      if (block === undefined) continue;
      const at = 2 * (index % BLOCK);
      if (block[at] < low) low = block[at];
      if (block[at + 1] > high) high = block[at + 1];
    }
    out[0] = low;
    out[1] = high;
    return low <= high;
  }
}
