// From the events of one session alone: up to where every result has come, and which are missing.
//
// Segmented: each `active` has its `inactive`, and the finals of a channel cover exactly the time between the two: one final, or
// several when the segment was cut. Simple and stateful: the segments of a channel cover the audio from 0 to its end without
// a gap. An error event stands in place of one result.

const TOLERANCE_S = 0.002; // times on the wire are rounded to 1 ms, at both ends
// The largest delay of an `active` after its own time: the longest padding (5 s) plus the longest minimum of speech (2 s).
const ANNOUNCED_WITHIN_S = 7;

const bounds = (from_s, to_s) => `${from_s.toFixed(3)}-${to_s.toFixed(3)} s`;
const isComplete = ({ end_s, covered_s }) => end_s !== null && covered_s >= end_s - TOLERANCE_S;

class Channel {
  utterances = []; // { start_s, covered_s, end_s }, in order; complete ones are removed from the front
  covered_s = 0;
  n_errors = 0;
  hasData = false;
  holes = []; // missing results; an error event may stand for each
  faults = []; // unexpected results

  active(time_s) {
    if (this.utterances.length > 0 && this.utterances.at(-1).end_s === null) {
      this.faults.push(`active at ${time_s.toFixed(3)} s while speech was active already`);
    }
    this.utterances.push({ start_s: time_s, covered_s: time_s, end_s: null });
  }

  inactive(time_s) {
    const last = this.utterances.at(-1);
    if (last === undefined || last.end_s !== null) {
      this.faults.push(`inactive at ${time_s.toFixed(3)} s without active before it`);
      return;
    }
    last.end_s = time_s;
    this.#dropComplete();
  }

  // Finals come in the order of the audio: utterances that end before this one starts get no more results.
  final(start_s, end_s) {
    while (this.utterances.length > 0) {
      const [head] = this.utterances;
      if (head.end_s === null || start_s < head.end_s - TOLERANCE_S) break;
      if (!isComplete(head)) this.holes.push(`no final result for ${bounds(head.covered_s, head.end_s)}`);
      this.utterances.shift();
    }
    const [utterance] = this.utterances;
    if (utterance === undefined || start_s < utterance.start_s - TOLERANCE_S) {
      this.faults.push(`a final result for ${bounds(start_s, end_s)} that no active announced, or a second one`);
      return;
    }
    if (start_s < utterance.covered_s - TOLERANCE_S) {
      this.faults.push(`a second final result for ${bounds(start_s, end_s)}`);
    } else if (start_s > utterance.covered_s + TOLERANCE_S) {
      this.holes.push(`no final result for ${bounds(utterance.covered_s, start_s)}`);
    }
    if (utterance.end_s !== null && end_s > utterance.end_s + TOLERANCE_S) {
      this.faults.push(`a final result for ${bounds(start_s, end_s)} past inactive at ${utterance.end_s.toFixed(3)} s`);
    }
    utterance.covered_s = Math.max(utterance.covered_s, end_s);
    this.#dropComplete();
  }

  // The last one stays, to tell a second final for it from an unannounced one.
  #dropComplete() {
    while (this.utterances.length > 1 && isComplete(this.utterances[0])) this.utterances.shift();
  }

  plain(start_s, end_s) {
    if (start_s > this.covered_s + TOLERANCE_S) this.holes.push(`no result for ${bounds(this.covered_s, start_s)}`);
    else if (start_s < this.covered_s - TOLERANCE_S) {
      this.faults.push(`a second result for ${bounds(start_s, Math.min(end_s, this.covered_s))}`);
    }
    this.covered_s = Math.max(this.covered_s, end_s);
  }

  answered_s(processed_s, covering) {
    if (covering) return this.hasData ? processed_s : this.covered_s;
    let end_s = 0;
    for (const utterance of this.utterances) {
      if (!isComplete(utterance)) return utterance.covered_s;
      end_s = utterance.covered_s;
    }
    return Math.max(end_s, processed_s - ANNOUNCED_WITHIN_S);
  }

  // until_s: results must cover the audio up to there; null when only speech has results.
  problems(until_s) {
    const [faults, holes] = [[...this.faults], [...this.holes]];
    for (const utterance of this.utterances) {
      if (utterance.end_s === null) faults.push(`speech active at ${utterance.start_s.toFixed(3)} s never became inactive`);
      else if (!isComplete(utterance)) holes.push(`no final result for ${bounds(utterance.covered_s, utterance.end_s)}`);
    }
    if (until_s !== null && !this.hasData && this.covered_s < until_s - TOLERANCE_S) {
      holes.push(`no result for ${bounds(this.covered_s, until_s)}`);
    }
    return [...faults, ...holes.slice(this.n_errors)];
  }
}

export class Answers {
  n_results = 0;
  n_errors = 0;

  #covering;
  #nChannels;
  #channels = [];

  // covering: results must cover the whole audio (the simple and the stateful route).
  constructor(nChannels, covering) {
    this.#nChannels = nChannels;
    this.#covering = covering;
    for (let channel = 0; channel < nChannels; channel++) this.#channels[channel] = new Channel();
  }

  // The next event of the session, of any type.
  receive(event) {
    const channel = (this.#channels[event.channel ?? 0] ??= new Channel());
    if (event.type === "active") channel.active(event.time);
    else if (event.type === "inactive") channel.inactive(event.time);
    else if (event.type === "error") {
      this.n_errors++;
      channel.n_errors++;
    } else if (event.type === "data") {
      this.n_results++;
      channel.hasData = true;
    } else if (event.type === "segment" && event.is_final !== false) {
      this.n_results++;
      if (event.is_final === true) channel.final(event.start_time, event.end_time);
      else if (this.#covering) channel.plain(event.start_time, event.end_time);
    }
  }

  // For each channel, the second of the session up to which every result has come. processed_s: of the last progress notice.
  answered_s(processed_s) {
    return this.#channels.slice(0, this.#nChannels).map((channel) => channel.answered_s(processed_s, this.#covering));
  }

  // A line for each missing or unexpected result. sent_s: of this session.
  problems(sent_s) {
    const until_s = this.#covering ? sent_s : null;
    return this.#channels.flatMap((channel, index) => channel.problems(until_s).map((text) => `channel ${index}: ${text}`));
  }
}
