// Whether the server is there, what it says about itself, and the token that it may want.

import { Token, askInfo } from "./server.js";

const ASK_MS = 5000; // how often the server is asked about itself while the page is seen

export class Presence {
  state = "unknown"; // ready | waiting | away | locked | unknown
  info = null; // what the server last said about itself
  token = new Token();

  #at;
  #on;

  // at: the element with an id. on: { described(info), changed(), submitted(), mayAsk() }
  constructor(at, on) {
    this.#at = at;
    this.#on = on;
    at("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#useToken();
    });
    setInterval(() => {
      if (!document.hidden && on.mayAsk()) void this.ask();
    }, ASK_MS);
  }

  async ask() {
    const { status, body } = await askInfo(this.token);
    if (status === 200) {
      this.info = body;
      this.state = body.ready ? "ready" : "waiting";
      this.#on.described(body);
      if (!this.#at("access").hidden) this.#say(this.token.value ? "The server accepts this token." : "");
    } else if (status === 401) {
      this.info = null;
      this.state = "locked";
      this.showAccess();
      this.#say(
        this.token.value
          ? "The server does not accept this token: check it for a missing or extra character."
          : "The server requires a token. Ask its operator for one.",
      );
    } else {
      this.state = status === 0 ? "away" : "waiting";
    }
    this.#on.changed();
  }

  // The form for the token, with the cursor in it when it was not there before.
  showAccess() {
    if (!this.#at("access").hidden) return;
    this.#at("access").hidden = false;
    this.#at("token").focus({ preventScroll: true });
  }

  #say(text) {
    this.#at("token-state").textContent = text;
  }

  async #useToken() {
    this.token.set(this.#at("token").value.trim(), this.#at("keep-token").checked);
    this.#say("Asking the server …");
    this.#on.submitted();
    await this.ask();
  }
}
