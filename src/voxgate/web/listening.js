// From Start to Stop: a source, its stream by the client library, and what the page shows of both.

import { ClosedError, ConnectError, MissingResults, RejectedError } from "./client/errors.js";
import { Stream } from "./client/stream.js";
import { streamAddress } from "./server.js";

const LONGEST_WAIT_S = 8; // between two attempts to reach a server that is gone

// The phases:
//   idle         nothing is going on
//   connecting   the session is being opened
//   listening    audio goes out, events come in
//   finishing    no more audio; answers are awaited
//   away         the server is gone, or full; the stream looks for it, and what a microphone records waits
export class Listening {
  phase = "idle";
  session = null; // of the timeline, also when it is over
  source = null;

  #timeline;
  #token;
  #on;
  #stream = null;
  #isEnding = false; // whether no more audio comes

  // on: { phase(), event(event, changed, session), problem(kind, detail), recovered() }
  constructor(timeline, token, on) {
    this.#timeline = timeline;
    this.#token = token;
    this.#on = on;
  }

  // Takes the source over and closes it in the end. options: the fields of the start message that a person chooses.
  start(source, route, options) {
    const session = this.#timeline.open(route, source.sampleRate, source.channels, source.label);
    [this.source, this.session, this.#isEnding] = [source, session, false];
    this.#stream = new Stream(source.kind === "file" ? this.#read(source, session) : this.#tap(source, session), {
      url: streamAddress(route),
      token: this.#token.value,
      notices: true,
      probabilities: true,
      ...(source.kind === "file" ? { format: source.format } : {}),
      ...options,
      reconnect: {
        attempts: Infinity,
        longest_wait_s: LONGEST_WAIT_S,
        on_notice: (notice) => this.#notice(notice, session),
      },
    });
    void this.#listen(this.#stream, session);
    this.#enter("connecting");
  }

  // Ends the audio and waits for outstanding results. A second call does not wait.
  stop() {
    if (this.phase !== "listening") {
      this.#end();
      return;
    }
    this.#isEnding = true;
    this.#stream.stop();
    this.#enter("finishing");
  }

  get unsent_s() {
    return this.#stream?.unsent_s ?? 0;
  }

  #enter(phase) {
    this.phase = phase;
    this.#on.phase();
  }

  // The pieces of a file, drawn on their way.
  async *#read(source, session) {
    for await (const piece of source.pieces()) {
      if (piece instanceof Int16Array) this.#timeline.addAudio(session, piece, performance.now());
      yield piece;
    }
    this.#isEnding = true;
    if (this.phase === "listening") this.#enter("finishing");
  }

  // A microphone, drawn as it is heard.
  #tap(source, session) {
    const { container, channels, sampleRate } = source;
    const push = (samples, sink) => {
      this.#timeline.addAudio(session, samples, performance.now());
      sink.push(samples);
    };
    const fail = (kind) => {
      this.#on.problem(kind);
      this.stop(); // what it heard before is answered
    };
    return {
      ...{ container, channels, sampleRate },
      start: (sink) => source.start({ ...sink, push: (samples) => push(samples, sink), fail }),
      pause: () => source.pause(),
      finish: () => source.finish(),
      close: () => source.close(),
    };
  }

  async #listen(stream, session) {
    let problem = null;
    try {
      for await (const event of stream) this.#take(event, session);
    } catch (error) {
      problem = this.#problemOf(error);
    }
    if (this.#stream !== stream) return; // it was ended by hand
    if (problem !== null) this.#on.problem(...problem);
    this.#end();
  }

  #take(event, session) {
    if (this.phase === "idle") return;
    if (event.type === "started") {
      if (this.phase === "away") this.#on.recovered();
      this.#enter(this.#isEnding ? "finishing" : "listening");
    }
    if (this.source.isHidden) this.#learn(event, session);
    this.#on.event(event, session.receive(event, performance.now()), session);
    if (event.type === "progress" && this.#stream.missed_s > 0) this.#on.problem("behind");
  }

  // What the server tells of a file that this page cannot decode.
  #learn(event, session) {
    if (event.type === "started") session.setChannels(event.format?.channels ?? 1);
    else if (event.type === "progress" || event.type === "finished") {
      session.addUnheard(event.received_s, performance.now());
    }
  }

  // The connection was lost, or there is a new one.
  #notice(notice, session) {
    if (notice.type === "resumed") {
      this.#on.event(null, session.resume(notice.at_s), session);
      return;
    }
    this.#enter("away");
    const { error } = notice;
    if (error instanceof ConnectError) this.#on.problem(...(error.status === null ? ["gone"] : ["busy", error.message]));
    else this.#on.problem([1001, 1013].includes(error.code) ? error.code : "gone");
  }

  // The end of a stream: [kind, detail] for `problem`; null when an event said it.
  #problemOf(error) {
    if (error instanceof RejectedError) return null;
    if (error instanceof ClosedError) return [error.code, error.reason];
    if (error instanceof MissingResults) return ["missing", error.problems[0]];
    if (!(error instanceof ConnectError)) return ["failed", error.message];
    if (error.status === null) return ["unreachable", error.message];
    if (error.status === 401) return [this.#token.value ? "wrong-token" : "token"];
    return ["refused", error.message];
  }

  #end() {
    this.#stream?.close();
    this.#stream = null;
    const { session } = this;
    const lost = session?.close() ?? [];
    if (lost.length > 0) this.#on.event(null, lost, session);
    if (session !== null && session.id === null) this.#timeline.drop(session); // the server never opened it
    this.source?.close();
    this.source = null;
    this.#enter("idle");
  }
}
