// The time of a stream, which continues over several sessions when connections are lost: the events of each session get the
// stream's time, and results that an earlier session gave are left out.

// A detector that starts in the middle of the audio may end an utterance a few frames later than before.
const OVERLAP_S = 0.25;

const NUMBERED = new Set(["active", "inactive", "resumed", "segment", "error"]);
const TIMES = ["time", "start_time", "end_time", "received_s", "processed_s"];
const TIMED = new Set(["active", "inactive", "resumed", "segment", "probabilities", "progress", "finished"]);

export class Times {
  offset_s = 0; // the stream's time at the beginning of the current session
  n_leftOut = 0; // results of the current session that an earlier one had given

  #processed_s = 0;
  #answered_s;
  #deferred = new Map(); // by channel: an `active` that may be a repeated one
  #isResumed = false;
  #firstIds = []; // of the current session, by channel
  #nextIds = [];
  #before = { results: 0, errors: 0 };

  constructor(nChannels) {
    this.#answered_s = Array(nChannels).fill(0);
  }

  // For each channel, the stream's time up to which every result has come. answers: of the current session.
  answered_s(answers) {
    const now_s = answers.answered_s(this.#processed_s);
    return this.#answered_s.map((before_s, channel) => Math.max(before_s, this.offset_s + now_s[channel]));
  }

  // A new session begins at a time. n_results, n_errors: of all sessions before.
  resume(answers, at_s, n_results, n_errors) {
    this.#answered_s = this.answered_s(answers);
    this.#before = { results: n_results, errors: n_errors };
    this.offset_s = at_s;
    this.#processed_s = 0;
    this.n_leftOut = 0;
    this.#deferred.clear();
    this.#isResumed = true;
    this.#firstIds = [...this.#nextIds];
  }

  // The event with the stream's times: none when an earlier session gave it, two when one was deferred.
  place(event) {
    if (event.type === "progress") this.#processed_s = event.processed_s;
    const { channel = 0 } = event;
    this.#number(event, channel);
    if (!this.#isResumed) return [event];
    const one = this.#moved(event, channel);
    const answered_s = this.#answered_s[channel] ?? 0;
    if (one.type === "active" && one.time < answered_s - OVERLAP_S) {
      this.#deferred.set(channel, one); // repeated, unless the utterance continues after the answered part
      return [];
    }
    if (one.type === "segment" && one.end_time <= answered_s + OVERLAP_S && one.start_time < answered_s - 0.001) {
      if (one.is_final !== false) this.n_leftOut++;
      return [];
    }
    const deferred = this.#deferred.get(channel);
    if (deferred === undefined || !["inactive", "resumed", "segment"].includes(one.type)) return [one];
    this.#deferred.delete(channel);
    return one.type === "inactive" && one.time <= answered_s + OVERLAP_S ? [] : [deferred, one];
  }

  #number(event, channel) {
    if (!NUMBERED.has(event.type) || event.segment_id === undefined) return;
    const id = event.segment_id + (this.#firstIds[channel] ?? 0);
    this.#nextIds[channel] = Math.max(this.#nextIds[channel] ?? 0, id + 1);
  }

  #moved(event, channel) {
    const one = { ...event };
    if (NUMBERED.has(one.type) && one.segment_id !== undefined) one.segment_id += this.#firstIds[channel] ?? 0;
    if (TIMED.has(one.type)) {
      const names = one.type === "segment" ? ["start_time", "end_time"] : TIMES; // a model may name a field `time`
      for (const name of names) if (name in one) one[name] += this.offset_s;
    }
    if (one.type === "finished") {
      one.results += this.#before.results - this.n_leftOut;
      one.errors += this.#before.errors;
    }
    return one;
  }
}
