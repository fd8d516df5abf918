// What was sent and what was said about it: every session one after the other on one axis of time.

import { Pyramid } from "./pyramid.js";
import { MAX_BYTES, Recording } from "./recording.js";

const WAVE_STEP_S = 0.005;
const MAX_EVENTS = 100_000; // of one session, for the download

let nextId = 1;

// One utterance, or on the routes that cut none, one result. Its state:
//   speaking   the server detects speech; `output` is the newest interim, if any
//   waiting    speech is over, the model has not answered yet
//   final      answered
//   failed     answered with an error
//   lost       the connection ended before the answer
//   void       the connection ended before the answer, and the next one announces it again
class Entry {
  constructor(session, channel, start_s, state, segment = null) {
    this.id = nextId++;
    this.segment = segment; // the server's number of it, in its channel; null: the server gives none
    this.lastSegment = null; // that of its `inactive`: larger when it was cut and not all of its parts are answered
    this.before = null; // the part before it, whose end is not known yet
    this.session = session;
    this.channel = channel;
    this.start_s = start_s; // of the session
    this.end_s = null; // null: still open
    this.state = state;
    this.output = null;
    this.stable = ""; // of an interim: the words that have settled
    this.isEager = false; // the interim is the final, unless speech goes on
    this.error = null;
    this.answer_s = null; // from the end of speech to the answer, as this page saw it
  }

  get from_s() {
    return this.session.offset_s + this.start_s;
  }

  get to_s() {
    return this.session.offset_s + (this.end_s ?? Math.max(this.start_s, this.session.duration_s));
  }
}

export class Session {
  constructor(offset_s, route, sampleRate, nChannels, source) {
    this.offset_s = offset_s; // where it begins on the axis of the whole timeline
    this.route = route;
    this.source = source;
    this.began = new Date();
    this.id = null; // as the server calls it
    this.model = null;
    this.events = [];
    this.isUnheard = false; // whether the page has none of its audio
    this.#shape(sampleRate, nChannels);
  }

  #shape(sampleRate, nChannels) {
    this.nChannels = nChannels;
    this.recording = new Recording(sampleRate, nChannels);
    this.waves = Array.from({ length: nChannels }, () => new Pyramid(WAVE_STEP_S));
    this.probabilities = Array.from({ length: nChannels }, () => null);
    this.entries = Array.from({ length: nChannels }, () => []); // by channel, in order of time
    this.#open = Array.from({ length: nChannels }, () => []);
    this.#steps = { index: 0, low: new Int16Array(nChannels), high: new Int16Array(nChannels), empty: true };
  }

  #sent_ms = 0; // when the last audio was sent
  #open; // entries that owe an answer
  #steps; // the step of the waves that is not full yet

  get duration_s() {
    return this.recording.duration_s;
  }

  get end_s() {
    return this.offset_s + this.duration_s;
  }

  // How long ago a moment of the session was sent, at live pace: the audio is the clock, and after the last of it the
  // computer's.
  since_s(time_s, now_ms) {
    return Math.max(0, this.duration_s - time_s) + (now_ms - this.#sent_ms) / 1000;
  }

  // How many channels a container has, which the server tells before anything else about it.
  setChannels(nChannels) {
    if (nChannels !== this.nChannels) this.#shape(this.recording.sampleRate, nChannels);
  }

  // The server has received so much of audio that this page cannot decode: the axis of time grows, without a wave.
  addUnheard(until_s, now_ms) {
    const n_frames = Math.round((until_s - this.duration_s) * this.recording.sampleRate);
    this.isUnheard = true;
    if (n_frames > 0) this.addAudio(new Int16Array(n_frames * this.nChannels), now_ms);
  }

  isSpeaking(channel) {
    return this.#open[channel].at(-1)?.state === "speaking";
  }

  // Interleaved samples that were sent.
  addAudio(data, now_ms) {
    this.#sent_ms = now_ms;
    const { nChannels, recording, waves } = this;
    const steps = this.#steps;
    const perStep = recording.sampleRate * WAVE_STEP_S;
    let frame = recording.n_frames;
    for (let at = 0; at < data.length; at += nChannels, frame++) {
      while (frame >= (steps.index + 1) * perStep) {
        for (let c = 0; c < nChannels; c++) waves[c].push(steps.low[c], steps.high[c]);
        steps.index++;
        steps.empty = true;
      }
      for (let c = 0; c < nChannels; c++) {
        const sample = data[at + c];
        if (steps.empty || sample < steps.low[c]) steps.low[c] = sample;
        if (steps.empty || sample > steps.high[c]) steps.high[c] = sample;
      }
      steps.empty = false;
    }
    recording.push(data);
  }

  // An event of the server. Returns the entries that changed.
  receive(event, now_ms) {
    if (this.events.length < MAX_EVENTS) this.events.push(event);
    const open = this.#open[event.channel];
    if (open === undefined) return [];
    switch (event.type) {
      case "started":
        this.id = event.session_id;
        this.model = event.model;
        return [];
      case "probabilities": {
        const track = (this.probabilities[event.channel] ??= new Pyramid(event.step_s));
        const first = Math.round(event.start_time / event.step_s);
        const known = Math.max(0, track.length - first); // heard again after a lost connection
        for (const one of event.values.slice(known)) track.push(Math.round(one * 32767), Math.round(one * 32767));
        return [];
      }
      case "active":
        return [this.#begin(event.channel, event.time, event.segment_id)];
      case "inactive": {
        const entry = open.find((one) => one.state === "speaking");
        if (entry === undefined) return [];
        entry.state = "waiting";
        entry.end_s = event.time;
        entry.ended_ms = now_ms;
        entry.lastSegment = event.segment_id ?? null;
        return [entry];
      }
      case "resumed": {
        const entry = open.find((one) => one.isEager);
        if (entry === undefined) return [];
        entry.isEager = false;
        return [entry];
      }
      case "segment":
        return this.#result(event, now_ms);
      case "error":
        return this.#failure(event);
      default:
        return [];
    }
  }

  // Nothing more will come. Returns the entries that stay without an answer.
  close() {
    const lost = this.#open.flat();
    for (const entry of lost) {
      entry.end_s ??= this.duration_s;
      entry.state = "lost";
    }
    this.#open.forEach((open) => (open.length = 0));
    return lost;
  }

  // After a lost connection the audio from `at_s` on is sent again, and what is unanswered there is announced again. Returns the
  // entries that changed: those are void, and those before `at_s` stay without an answer.
  resume(at_s) {
    const changed = this.#open.flat();
    for (const entry of changed) {
      const isBefore = entry.end_s !== null && entry.end_s <= at_s;
      entry.state = isBefore ? "lost" : "void";
      if (isBefore) continue;
      const entries = this.entries[entry.channel];
      entries.splice(entries.indexOf(entry), 1);
    }
    this.#open.forEach((open) => (open.length = 0));
    return changed;
  }

  #begin(channel, start_s, segment = null) {
    const entry = new Entry(this, channel, start_s, "speaking", segment);
    this.entries[channel].push(entry);
    this.#open[channel].push(entry);
    return entry;
  }

  // What is left of an entry that was cut: `entry` gets the answer to its first part, and this one stands behind it.
  #split(entry, start_s) {
    const rest = new Entry(this, entry.channel, start_s, entry.state, entry.segment === null ? null : entry.segment + 1);
    rest.end_s = entry.end_s;
    rest.ended_ms = entry.ended_ms;
    rest.lastSegment = entry.lastSegment;
    const [entries, open] = [this.entries[entry.channel], this.#open[entry.channel]];
    entries.splice(entries.indexOf(entry) + 1, 0, rest);
    open.splice(open.indexOf(entry) + 1, 0, rest);
    return rest;
  }

  // Answers may come after the next utterance has begun: never is one about the last that did.
  #result(event, now_ms) {
    const { type, start_time, end_time, is_final, channel, segment_id, stable_text, eager, ...output } = event;
    const open = this.#open[channel];
    const isMeant = (one) =>
      segment_id === undefined ? Math.abs(one.start_s - start_time) < 0.002 : one.segment === segment_id;
    const found = open.find(isMeant);
    const changed = [];
    if (found?.before) {
      found.start_s = found.before.end_s = start_time;
      changed.push(found.before);
      found.before = null;
    }
    if (is_final === false) {
      if (found === undefined) return [];
      found.output = output;
      found.stable = stable_text ?? "";
      found.isEager = eager === true;
      return [...changed, found];
    }
    const entry = found ?? new Entry(this, channel, start_time, "final", segment_id);
    if (found === undefined) {
      this.entries[channel].push(entry);
    } else {
      // A segment that grew too long: cut, and speech goes on, or went on until its end.
      const wasCut = entry.state === "speaking" || end_time < entry.end_s - 0.002;
      if (wasCut) changed.push(this.#split(entry, end_time));
      else if (entry.ended_ms !== undefined) entry.answer_s = (now_ms - entry.ended_ms) / 1000;
      open.splice(open.indexOf(entry), 1);
    }
    entry.state = "final";
    entry.output = output;
    entry.stable = "";
    entry.isEager = false;
    entry.end_s = end_time;
    return [entry, ...changed];
  }

  #failure(event) {
    const open = this.#open[event.channel];
    const hasIds = open.some((one) => one.segment !== null);
    const isMeant = (one) => (hasIds ? one.segment === event.segment_id : one.state === "waiting");
    const entry = open.find(isMeant);
    if (entry === undefined) return [];
    if (!hasIds && !["inference_failed", "internal", ""].includes(event.code ?? "")) return [];
    const changed = [entry];
    if (hasIds && (entry.state === "speaking" || entry.lastSegment > entry.segment)) {
      // It was cut, where only the next answer says.
      entry.end_s = entry.end_s ?? this.duration_s;
      const rest = this.#split(entry, entry.end_s);
      if (entry.state === "speaking") rest.end_s = null;
      rest.before = entry;
      changed.push(rest);
    }
    open.splice(open.indexOf(entry), 1);
    entry.state = "failed";
    entry.error = event.message;
    return changed;
  }
}

export class Timeline {
  sessions = [];

  get duration_s() {
    return this.sessions.at(-1)?.end_s ?? 0;
  }

  // Channels of the session that is drawn at the right edge: how many lanes there are.
  get nChannels() {
    return this.sessions.reduce((most, session) => Math.max(most, session.nChannels), 1);
  }

  open(route, sampleRate, nChannels, source) {
    const session = new Session(this.duration_s, route, sampleRate, nChannels, source);
    this.sessions.push(session);
    return session;
  }

  drop(session) {
    this.sessions.splice(this.sessions.indexOf(session), 1);
  }

  addAudio(session, data, now_ms) {
    session.addAudio(data, now_ms);
    let bytes = this.sessions.reduce((sum, one) => sum + one.recording.bytes, 0);
    for (const { recording } of this.sessions) {
      while (bytes > MAX_BYTES && recording.chunks.length > 0) {
        const before = recording.bytes;
        recording.dropOldest();
        bytes -= before - recording.bytes;
      }
    }
  }

  clear() {
    this.sessions.length = 0;
  }

  // Every entry, in order of time.
  entries() {
    return this.sessions.flatMap((session) =>
      session.entries.flat().sort((a, b) => a.start_s - b.start_s || a.channel - b.channel),
    );
  }

  // The entry at a time of the whole timeline; a little beside it will do.
  entryAt(channel, time_s, slack_s = 0) {
    for (const session of this.sessions) {
      for (const entry of session.entries[channel] ?? []) {
        if (entry.from_s - slack_s <= time_s && time_s <= entry.to_s + slack_s) return entry;
      }
    }
    return null;
  }
}

// Index of the first entry that ends after a time (of the session); entries are in order.
export function firstAfter(entries, time_s) {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const end_s = entries[middle].end_s;
    if (end_s !== null && end_s <= time_s) low = middle + 1;
    else high = middle;
  }
  return low;
}
