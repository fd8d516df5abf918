// The numbers of a session: lag, latency, real-time factor.

import { clock, duration } from "./format.js";

export class Numbers {
  #at;
  #lags = { lag_s: null, factor: null };

  // at: the element with an id.
  constructor(at) {
    this.#at = at;
  }

  // A new session begins.
  reset() {
    this.#lags = { lag_s: null, factor: null };
  }

  // An event, and the entries that it changed. isLive: of the source.
  receive(event, changed, session, isLive) {
    if (event?.type === "progress") this.#lags = { lag_s: event.lag_s, factor: event.real_time_factor };
    if (event?.type === "finished") this.#lags.lag_s = event.received_s - event.processed_s;
    if (event?.type === "started") this.#at("session").textContent = `Session ${event.session_id}`;
    for (const entry of changed) {
      if (entry.state !== "final" || entry.answer_s === null) continue;
      this.#at("answer").textContent = duration(entry.answer_s);
      this.#at("total").textContent = isLive ? duration(session.since_s(entry.end_s, performance.now())) : "–";
    }
  }

  show({ phase, session, unsent_s }, info) {
    if (session !== null) this.#at("sent").textContent = clock(session.duration_s, 0);
    const isOpen = phase === "listening" || phase === "finishing"; // otherwise nothing lags behind
    const { lag_s, factor } = this.#lags;
    this.#at("lag").textContent = lag_s === null || !isOpen ? "–" : duration(lag_s + unsent_s);
    const isSlow = factor !== null && factor > 1;
    this.#at("factor").textContent = factor === null ? "–" : factor.toFixed(3);
    this.#at("factor").dataset.state = isSlow ? "slow" : "";
    this.#at("factor-help").hidden = !isSlow;
    this.#at("streams").textContent = info?.streams ? `${info.streams.open} / ${info.streams.max}` : "–";
  }
}
