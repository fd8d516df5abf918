// Where a server is, and the questions that it answers over plain HTTP.

const TIMEOUT_MS = 5000;
const USUAL_PATH = "/api/v1/segmented";

// The websocket URL of a stream. http(s) becomes ws(s); an address without a path means the segmented route. Throws TypeError.
export function streamUrl(address) {
  const url = new URL(address, globalThis.document?.baseURI);
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(url.protocol)) throw new TypeError(`url: expected ws, wss, http or https, got ${url.protocol}`);
  if (url.pathname === "/") url.pathname = USUAL_PATH;
  url.hash = "";
  return url;
}

// The address beside the stream's: "info" or "ready".
function besides(url, name) {
  const there = new URL(name, url);
  there.protocol = there.protocol.replace(/^ws/, "http");
  return there;
}

// UTF-8, a character for each byte: headers carry nothing beyond Latin-1.
function bytesOf(token) {
  return String.fromCharCode(...new TextEncoder().encode(token));
}

export function tokenHeaders(token) {
  return token ? { Authorization: `Bearer ${bytesOf(token)}` } : {};
}

// A browser cannot set headers of a websocket, but it may name protocols: one of them carries the token.
export function tokenProtocols(token) {
  if (!token) return [];
  const base64 = btoa(bytesOf(token));
  return ["voxgate.v1", `voxgate.token.${base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`];
}

// { status, body, retryAfter }; the status is 0 without an answer.
export async function getJson(address, headers = {}) {
  try {
    const response = await fetch(address, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    const body = await response.json().catch(() => ({}));
    return { status: response.status, body, retryAfter: response.headers.get("Retry-After") };
  } catch {
    return { status: 0, body: {}, retryAfter: null };
  }
}

// The description of the server (GET /api/v1/info). Throws an Error when there is none.
export async function serverInfo(address, { token = "" } = {}) {
  const url = besides(streamUrl(address), "info");
  const { status, body } = await getJson(url, tokenHeaders(token));
  if (status !== 200) throw new Error(status === 0 ? `${url.host} does not answer` : (body.error ?? `${url.host} answers ${status}`));
  return body;
}

// A browser tells nothing of why a websocket was refused; plain HTTP does. { status, code, message, retryAfter }; the
// status is null when it cannot be known.
export async function whyRefused(url, token) {
  const info = await getJson(besides(url, "info"), tokenHeaders(token));
  if (info.status === 0) {
    // A page of another origin cannot read why it was refused.
    const { origin, host } = globalThis.location ?? { host: url.host };
    const orElse = host === url.host ? "" : `: it does not answer, or takes no pages of ${origin} (auth.origins)`;
    return { status: null, message: `cannot connect to ${url.host}${orElse}` };
  }
  if (info.status !== 200) {
    if (![401, 403, 421, 429].includes(info.status) && info.status < 500) {
      return { status: null, message: `${url.host} answers ${info.status}: is it a Voxgate server?` };
    }
    return { status: info.status, code: info.body.code, message: info.body.error ?? "refused", retryAfter: info.retryAfter };
  }
  const route = info.body.routes?.[url.pathname.split("/").pop()];
  if (route?.served === false) return { status: 501, code: "not_served", message: route.reason };
  const ready = await getJson(besides(url, "ready"));
  if (ready.status >= 400) {
    return { status: ready.status, code: ready.body.code, message: ready.body.reason ?? "not ready", retryAfter: ready.retryAfter };
  }
  const { open, max } = info.body.streams ?? {};
  if (open >= max) return { status: 503, code: "streams", message: `all of its ${max} streams are taken` };
  return { status: null, message: `${url.host} refused the connection, and does not say why` };
}
