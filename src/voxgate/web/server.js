// What the page asks the server by plain HTTP: what it is, whether it is ready, whether a token is good.

const TIMEOUT_MS = 5000;
const STORED_TOKEN = "voxgate.token";

export function address(path) {
  return new URL(path, document.baseURI);
}

export function streamAddress(route) {
  const url = address(`api/v1/${route}`);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
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
    return this.#value ? { Authorization: `Bearer ${this.#bytes}` } : {};
  }

  // UTF-8, a character for each byte: headers carry nothing beyond Latin-1.
  get #bytes() {
    return String.fromCharCode(...new TextEncoder().encode(this.#value));
  }

  // A browser cannot set headers of a websocket, but it may name protocols: one of them carries the token.
  get protocols() {
    if (!this.#value) return [];
    const base64 = btoa(this.#bytes);
    return ["voxgate.v1", `voxgate.token.${base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`];
  }
}

async function get(path, headers = {}) {
  try {
    const response = await fetch(address(path), {
      headers,
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await response.json().catch(() => ({}));
    return { status: response.status, body };
  } catch {
    return { status: 0, body: {} }; // unreachable
  }
}

// { status, body }: 200 and the description, 401 for a token that is missing or wrong, 0 without an answer.
export function askInfo(token) {
  return get("api/v1/info", token.headers);
}

export function askReady() {
  return get("api/v1/ready");
}
