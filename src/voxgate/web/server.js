// What the page asks the server by plain HTTP: what it is, whether it is ready, whether a token is good.

import { getJson, streamUrl, tokenHeaders } from "./client/address.js";

const STORED_TOKEN = "voxgate.token";

export function address(path) {
  return new URL(path, document.baseURI);
}

export function streamAddress(route) {
  return streamUrl(address(`api/v1/${route}`));
}

// The token goes nowhere but into requests; only when asked for is it kept, until the tab is closed.
export class Token {
  #value = "";

  constructor() {
    try {
      this.#value = sessionStorage.getItem(STORED_TOKEN) ?? "";
    } catch {
      // Storage may be forbidden; then nothing was kept.
    }
  }

  get value() {
    return this.#value;
  }

  set(value, keep) {
    this.#value = value;
    try {
      if (keep && value) sessionStorage.setItem(STORED_TOKEN, value);
      else sessionStorage.removeItem(STORED_TOKEN);
    } catch {
      // As above.
    }
  }

  get headers() {
    return tokenHeaders(this.#value);
  }
}

// { status, body }: 200 and the description, 401 for a token that is missing or wrong, 0 without an answer.
export function askInfo(token) {
  return getJson(address("api/v1/info"), token.headers);
}

export function askReady() {
  return getJson(address("api/v1/ready"));
}
