// The stream of a client: it sends audio and receives events at the same time, in one session or several.

import { streamUrl, tokenProtocols, whyRefused } from "./address.js";
import { Answers } from "./answers.js";
import { Connection, FULL_BYTES } from "./connection.js";
import { ClosedError, ConnectError, MissingResults, RejectedError } from "./errors.js";
import { Feed } from "./feed.js";
import { isWorthAnotherTry, reconnectOptions, wait_s } from "./reconnect.js";
import { openSource } from "./sources.js";
import { Times } from "./times.js";

const MESSAGE_BYTES = 64 * 1024;
const WAIT_MS = 15;

// What a caller may set of the start message, by its names on the wire.
const START_FIELDS = ["interim_results", "trace_id", "vad", "probabilities", "stability", "eager", "options", "turn"];
const NOTICES = new Set(["started", "progress", "finished", "draining"]);
// This client sends one start, audio and one stop: after any of these errors no session is open, and nothing follows.
const FATAL_CODES = new Set(["invalid_message", "invalid_start", "not_started"]);
// After these, no session is open either, but results came before them. The rest of the container would be dropped.
const MEDIA_CODES = new Set(["unsupported_media", "invalid_media", "truncated_media", "media_limit", "decoder_failed"]);

const now_s = () => performance.now() / 1000;

// Streams a source to a server; iterate over the result once (for await) for its events. index.d.ts describes both.
export function stream(source, options) {
  return new Stream(source, options);
}

export class Stream {
  isStopSent = false; // whether everything is sent; results may still be outstanding

  #url;
  #token;
  #WebSocket;
  #reconnect;
  #notices;
  #source;
  #feed;
  #start;
  #isPcm;
  #covering;
  #nChannels;
  #frame_bytes;
  #bytesPerSecond;
  #answers;
  #times;
  #lastEvent = null;
  #decoded_s = 0; // of a container: what the server has received of this session, by its notices
  #sent_bytes = 0;
  #furthest_bytes = 0;
  #stop_bytes = null;
  #failure = null; // of the source
  #isUsed = false;
  #isClosed = false;
  #session = null;
  #endPause = () => {};

  constructor(source, { url, token = "", format, reconnect = true, notices = false, WebSocket, ...start } = {}) {
    for (const name of Object.keys(start)) {
      if (!START_FIELDS.includes(name)) throw new TypeError(`${name}: no such option`);
    }
    this.#url = streamUrl(url);
    this.#token = token?.trim() ?? "";
    this.#WebSocket = WebSocket;
    this.#reconnect = reconnectOptions(reconnect);
    this.#notices = notices;
    const backlog_bytes = this.#reconnect?.backlog_bytes ?? 0;
    this.#source = openSource(source, format, backlog_bytes || reconnectOptions(true).backlog_bytes);
    this.#feed = new Feed(this.#source.pieces, backlog_bytes);
    format = this.#source.format;
    this.#isPcm = format.container === undefined;
    this.#nChannels = this.#isPcm ? format.channels : 1;
    this.#frame_bytes = this.#isPcm ? (format.channels * format.bit_depth) / 8 : 1;
    this.#bytesPerSecond = this.#isPcm ? this.#frame_bytes * format.sample_rate : Infinity;
    this.#covering = ["simple", "stateful"].includes(this.#url.pathname.split("/").pop());
    this.#answers = new Answers(this.#nChannels, this.#covering);
    this.#times = new Times(this.#nChannels);
    const asksNotices = notices || this.#reconnect !== null || !this.#isPcm;
    this.#start = { request: "start", format, interim_results: false, ...start, notices: asksNotices };
  }

  // Seconds of audio sent so far; of a container, those that the server has decoded.
  get sent_s() {
    return this.#isPcm ? this.#sent_bytes / this.#bytesPerSecond : this.#times.offset_s + this.#decoded_s;
  }

  // Seconds of audio that were recorded or read, and wait here or in the websocket; 0 for a container.
  get unsent_s() {
    const read_bytes = this.#feed.end_bytes - this.#sent_bytes;
    const held_bytes = (this.#source.queue?.held_bytes ?? 0) + (this.#session?.connection?.waiting_bytes ?? 0);
    return (read_bytes + held_bytes) / this.#bytesPerSecond;
  }

  // Seconds of a microphone that silence has replaced, because more than `backlog_bytes` waited.
  get missed_s() {
    return (this.#source.queue?.missed_bytes ?? 0) / this.#bytesPerSecond;
  }

  // Ends the audio here: the results of what was sent, and of what a microphone has recorded, still come.
  stop() {
    if (this.#stop_bytes !== null) return;
    if (this.#source.finish !== null) {
      this.#stop_bytes = Infinity;
      void this.#source.finish();
    } else {
      this.#stop_bytes = this.#furthest_bytes;
      this.#feed.stop();
    }
  }

  // Ends everything at once: no more results come.
  close() {
    this.#isClosed = true;
    this.#session?.put(null);
    this.#endPause();
    if (!this.#isUsed) this.#source.close();
  }

  [Symbol.asyncIterator]() {
    if (this.#isUsed) throw new Error("a stream can be iterated once");
    this.#isUsed = true;
    return this.#events();
  }

  // The second up to which every channel is answered.
  get #answered_s() {
    return Math.min(...this.#times.answered_s(this.#answers));
  }

  async *#events() {
    let [n_failed, lost_s, wasConnected] = [0, null, false];
    try {
      while (!this.#isClosed) {
        const answered_s = this.#answered_s;
        const session = (this.#session = new Session());
        let error;
        try {
          if (!(await this.#open(session))) return;
          if (lost_s !== null) this.#resume(now_s() - lost_s);
          [lost_s, wasConnected] = [null, true];
          session.sending = this.#send(session.connection);
          for (;;) {
            const message = await session.next();
            if (message === null || this.#isClosed) return;
            if (message.event === undefined) {
              if (session.isLeft) throw new ClosedError(1001, "the server shuts down");
              this.#check(message);
              return;
            }
            const { event } = message;
            for (const one of this.#take(event)) yield one;
            if (event.type === "draining") this.#leave(session);
            if (event.type !== "error") continue;
            if (FATAL_CODES.has(event.code)) throw new RejectedError(event.message, event.code);
            if (MEDIA_CODES.has(event.code)) this.stop();
          }
        } catch (failure) {
          error = failure;
        } finally {
          session.connection?.abandon();
          this.#feed.interrupt();
          await session.sending;
        }
        if (this.#reconnect === null || !isWorthAnotherTry(error, wasConnected)) throw error;
        if (!this.#isPcm && this.#feed.oldest_bytes > 0) throw error; // the beginning of the container is not kept
        n_failed = this.#answered_s > answered_s ? 1 : n_failed + 1;
        const { attempts, on_notice } = this.#reconnect;
        if (n_failed > attempts) throw error;
        const pause_s = wait_s(this.#reconnect, error, n_failed);
        const unanswered_s = this.sent_s - this.#answered_s;
        on_notice({ type: "lost", error, unanswered_s, wait_s: pause_s, attempt: n_failed, attempts });
        lost_s ??= now_s();
        await this.#pause(pause_s);
      }
    } finally {
      this.#feed.close();
      this.#source.close();
    }
  }

  // Whether the connection is open; false: the caller has closed the stream. Throws ConnectError.
  async #open(session) {
    session.connection = new Connection(
      this.#url, tokenProtocols(this.#token), this.#start, session, this.#WebSocket ?? globalThis.WebSocket,
    );
    const first = await session.next();
    if (first === null || this.#isClosed) return false;
    if (!first.isOpen) throw new ConnectError(await whyRefused(this.#url, this.#token));
    return true;
  }

  async #pause(pause_s) {
    if (this.#isClosed) return; // by the notice
    let timer;
    await new Promise((resolve) => {
      this.#endPause = resolve;
      timer = setTimeout(resolve, pause_s * 1000);
    });
    clearTimeout(timer);
  }

  // The server shuts down and waits for this session: its audio ends here, and goes on in the next one. Of a container all would
  // be sent again: it stays as long as it may.
  #leave(session) {
    if (this.#reconnect === null || !this.#isPcm || this.isStopSent) return;
    session.isLeft = true;
    session.connection.stop();
  }

  // The connection is closed. Throws unless that was its good end.
  #check({ code, reason }) {
    if (!this.isStopSent || (code !== 1000 && code !== 1005)) throw new ClosedError(code, reason);
    if (this.#failure !== null) throw this.#failure;
    const problems = this.#answers.problems(this.sent_s - this.#times.offset_s);
    if (problems.length > 0) throw new MissingResults(problems);
  }

  // The events that the caller gets for an event of the server.
  #take(event) {
    if (!this.#isPcm) this.#learn(event);
    this.#answers.receive(event);
    this.#lastEvent = event;
    const n_leftOut = this.#times.n_leftOut;
    const placed = this.#times.place(event);
    this.#answers.n_results -= this.#times.n_leftOut - n_leftOut;
    if (this.#reconnect !== null && this.#isPcm) {
      const { sample_rate } = this.#start.format;
      this.#feed.forget(Math.floor(this.#answered_s * sample_rate) * this.#frame_bytes);
    }
    if (this.#notices) return placed;
    if (NOTICES.has(event.type)) return []; // asked for by this client alone
    return this.#start.notices ? placed.map(({ segment_id, ...one }) => one) : placed;
  }

  // What the server tells about the container, before any result.
  #learn(event) {
    if (event.type === "started" && event.format && event.format.channels !== this.#nChannels) {
      this.#nChannels = event.format.channels;
      this.#answers = new Answers(this.#nChannels, this.#covering);
      this.#times = new Times(this.#nChannels);
    } else if (event.type === "progress" || event.type === "finished") this.#decoded_s = event.received_s;
  }

  // Everything from the current position on, then the end. Never fails.
  async #send(connection) {
    try {
      for (let piece = await this.#feed.next(); piece !== null; piece = await this.#feed.next()) {
        for (let at = 0; at < piece.length && !(this.#sent_bytes >= (this.#stop_bytes ?? Infinity)); at += MESSAGE_BYTES) {
          while (connection.isTaking && connection.waiting_bytes > FULL_BYTES) {
            await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
          }
          if (!connection.isTaking) return;
          const message = piece.subarray(at, at + MESSAGE_BYTES);
          connection.send(message);
          this.#sent_bytes += message.length;
          this.#furthest_bytes = Math.max(this.#furthest_bytes, this.#sent_bytes);
        }
        if (!connection.isTaking) return;
      }
    } catch (error) {
      this.#failure = error; // what came before it is still answered
    }
    if (!connection.isTaking) return;
    connection.stop();
    this.isStopSent = true;
  }

  // Prepares a session that begins at the end of the answered audio.
  #resume(away_s) {
    let [at_bytes, at_s, gap_s] = [0, 0, 0]; // of a container everything is kept, and sent again
    if (this.#isPcm) {
      const frame_bytes = this.#frame_bytes;
      const answered_bytes = Math.floor(this.#answered_s * this.#start.format.sample_rate + 0.5) * frame_bytes;
      const kept_bytes = Math.ceil(this.#feed.oldest_bytes / frame_bytes) * frame_bytes;
      at_bytes = Math.min(Math.max(answered_bytes, kept_bytes), this.#feed.end_bytes);
      at_s = at_bytes / this.#bytesPerSecond;
      gap_s = Math.max(0, (at_bytes - answered_bytes) / this.#bytesPerSecond);
    } else this.#decoded_s = 0;
    const before = this.#answers;
    // It announced the close, in place of no result.
    if (this.#lastEvent?.type === "error" && this.#lastEvent.code === "overloaded") before.n_errors--;
    this.#times.resume(before, at_s, before.n_results, before.n_errors);
    this.#answers = new Answers(this.#nChannels, this.#covering);
    this.#answers.n_results = before.n_results;
    this.#answers.n_errors = before.n_errors;
    this.#lastEvent = null;
    this.#feed.rewind(at_bytes);
    this.#sent_bytes = at_bytes;
    this.isStopSent = false;
    this.#reconnect.on_notice({ type: "resumed", at_s, away_s, gap_s });
  }
}

// What one connection gives, in order: { isOpen }, { event } and at last { code, reason }.
class Session {
  connection = null;
  sending = null;
  isLeft = false; // whether the stream goes on in another session

  #messages = [];
  #wake = () => {};

  open() {
    this.put({ isOpen: true });
  }

  event(event) {
    this.put({ event });
  }

  close({ code, reason }) {
    this.put({ code, reason });
  }

  put(message) {
    this.#messages.push(message);
    this.#wake();
  }

  async next() {
    while (this.#messages.length === 0) await new Promise((resolve) => (this.#wake = resolve));
    return this.#messages.shift();
  }
}
