// From Start to Stop: a source, a connection, and what happens when the server goes away in between.

import { Connection, FULL_BYTES, LOST_BYTES } from "./client/connection.js";
import { PASSING_CODES } from "./client/reconnect.js";
import { formatOf } from "./client/sources.js";
import { askInfo, askReady, streamAddress } from "./server.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
// Closed for one of these reasons, the server may well be there again soon.
const PASSING = new Set([...PASSING_CODES, 1005]);

// The phases:
//   idle         nothing is going on
//   connecting   the websocket is being opened
//   listening    audio goes out, events come in
//   finishing    no more audio; answers are awaited
//   away         the server is gone; this page looks for it
export class Listening {
  phase = "idle";
  session = null; // of the timeline, also when it is over
  source = null;
  next_ms = null; // when the server is looked for again, by performance.now()

  #timeline;
  #token;
  #on;
  #connection = null;
  #timer = null;
  #n_tries = 0;
  #request = null; // { route, options } of the running Start

  // on: { phase(), event(event, changed), problem(kind, detail), recovered() }
  constructor(timeline, token, on) {
    this.#timeline = timeline;
    this.#token = token;
    this.#on = on;
  }

  // Takes the source over and closes it in the end. options: the fields of the start message that a person chooses.
  start(source, route, options) {
    this.source = source;
    this.#request = { route, options };
    this.#n_tries = 0;
    this.#connect();
  }

  // Ends the audio and waits for outstanding results. A second call does not wait.
  stop() {
    if (this.phase === "listening") {
      const [source, connection] = [this.source, this.#connection];
      if (source.finish) {
        void source.finish().then(() => connection.stop()); // its last piece comes a moment later
      } else {
        source.pause();
        connection.stop();
      }
      this.#enter("finishing");
    } else {
      this.#end();
    }
  }

  get unsent_s() {
    if (this.#connection === null || this.source === null) return 0;
    const { bytesPerSecond, channels, sampleRate } = this.source;
    return this.#connection.waiting_bytes / (bytesPerSecond ?? 2 * channels * sampleRate);
  }

  #enter(phase) {
    this.phase = phase;
    this.#on.phase();
  }

  #connect() {
    const { route, options } = this.#request;
    const { source } = this;
    const start = {
      request: "start",
      format: formatOf(source),
      notices: true,
      probabilities: true,
      ...options,
    };
    this.#enter(this.#n_tries > 0 ? "away" : "connecting");
    const session = { current: null };
    this.#connection = new Connection(streamAddress(route), this.#token.protocols, start, {
      open: () => {
        session.current = this.session = this.#timeline.open(route, source.sampleRate, source.channels, source.label);
        this.session.begins_s = source.position_s ?? 0;
        if (this.#n_tries > 0) this.#on.recovered();
        this.#enter("listening");
        source.start(this.#sink(this.#connection, this.session));
      },
      event: (event) => {
        if (source.isHidden) this.#learn(event, session.current);
        const changed = session.current.receive(event, performance.now());
        this.#on.event(event, changed, session.current);
        if (event.type === "progress") this.#n_tries = 0; // it is really back
        if (event.type === "draining" && this.phase === "listening") {
          // The server is draining: it admits no new session and waits for this one, which ends here.
          this.#connection.stop();
          source.pause();
          session.current.wasDrained = true;
          this.#enter("finishing");
        }
      },
      close: (how) => this.#closed(how, session.current),
    });
  }

  // What the server tells of a file that this page cannot decode.
  #learn(event, session) {
    if (event.type === "started") session.setChannels(event.format?.channels ?? 1);
    else if (event.type === "progress" || event.type === "finished") {
      session.addUnheard(event.received_s, performance.now());
    }
  }

  // push: samples, which are drawn, and sent unless the source has a container; send: a piece of that.
  #sink(connection, session) {
    return {
      isFull: () => !connection.isTaking || connection.waiting_bytes > FULL_BYTES,
      push: (samples) => {
        if (!connection.isTaking) return;
        this.#timeline.addAudio(session, samples, performance.now());
        if (!this.source.container) this.#send(connection, samples);
      },
      send: (piece) => this.#send(connection, piece),
      end: () => this.stop(),
      fail: (kind) => this.#giveUp(kind),
    };
  }

  #send(connection, data) {
    connection.send(data);
    if (connection.waiting_bytes > LOST_BYTES) this.#giveUp("behind");
  }

  // Ends in good order, and says why.
  #giveUp(kind) {
    this.#on.problem(kind);
    this.stop();
  }

  #closed({ opened, asked, code, reason }, session) {
    this.#connection = null;
    const answered_s = session?.answered_s ?? 0;
    const lost = session?.close() ?? [];
    if (lost.length > 0) this.#on.event(null, lost, session);
    if (asked && !session?.wasDrained) {
      this.#end();
      return;
    }
    this.source.pause();
    if (opened && this.source.goTo) this.source.goTo((session.begins_s ?? 0) + answered_s);
    if (opened && this.phase === "finishing" && !session?.wasDrained && !this.source.goTo) {
      this.#on.problem(PASSING.has(code) ? "gone-at-the-end" : code, reason);
      this.#end();
    } else if (opened && !PASSING.has(code) && !asked) {
      this.#on.problem(code, reason);
      this.#end();
    } else if (opened) {
      this.#on.problem(session.wasDrained ? 1001 : code === 1013 || code === 1001 ? code : "gone");
      this.#tryLater();
    } else {
      void this.#findOutWhy();
    }
  }

  // A browser tells nothing of why a websocket was refused; plain HTTP does.
  async #findOutWhy() {
    const source = this.source;
    const info = await askInfo(this.#token);
    if (this.source !== source || this.phase === "idle") return; // stopped meanwhile
    const { route } = this.#request;
    if (info.status === 0) {
      this.#on.problem("gone");
      this.#tryLater();
    } else if (info.status === 401 || info.status === 403) {
      this.#on.problem(info.status === 403 ? "refused" : this.#token.value ? "wrong-token" : "token", info.body.error);
      this.#end();
    } else if (info.body.routes?.[route]?.served === false) {
      this.#on.problem("refused", info.body.routes[route].reason);
      this.#end();
    } else {
      const ready = await askReady();
      if (this.source !== source || this.phase === "idle") return;
      const { open, max } = info.body.streams ?? {};
      if (ready.status === 0) this.#on.problem("gone");
      else if (ready.status !== 200) this.#on.problem("busy", ready.body.reason ?? "it is not ready");
      else if (open >= max) this.#on.problem("busy", `all of its ${max} streams are taken`);
      else if (this.#n_tries >= 3) {
        this.#on.problem("refused");
        this.#end();
        return;
      }
      this.#tryLater();
    }
  }

  #tryLater() {
    const wait_ms = RETRY_MS[Math.min(this.#n_tries++, RETRY_MS.length - 1)];
    this.next_ms = performance.now() + wait_ms;
    this.#enter("away");
    this.#timer = setTimeout(() => void this.#look(), wait_ms);
  }

  async #look() {
    const source = this.source;
    const ready = await askReady();
    if (this.source !== source || this.phase !== "away") return;
    if (ready.status === 200) this.#connect();
    else {
      if (ready.status === 503) this.#on.problem("busy", ready.body.reason ?? "it is not ready");
      this.#tryLater();
    }
  }

  #end() {
    clearTimeout(this.#timer);
    this.#connection?.abandon();
    this.#connection = null;
    const lost = this.session?.close() ?? [];
    if (lost.length > 0) this.#on.event(null, lost, this.session);
    this.source?.close();
    this.source = null;
    this.next_ms = null;
    this.#enter("idle");
  }
}
