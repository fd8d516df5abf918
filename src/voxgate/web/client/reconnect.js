// The policy after a lost connection: whether to try again, and when.

import { ClosedError, ConnectError } from "./errors.js";

// Going away, restart, try again later; and 1006, no close frame at all.
export const PASSING_CODES = new Set([1001, 1006, 1012, 1013]);
const PASSING_STATUS = new Set([429, 502, 503, 504]);

const USUAL = {
  attempts: 10,
  first_wait_s: 0.5,
  longest_wait_s: 30,
  backlog_bytes: 64 * 1024 * 1024,
  on_notice: () => {},
};

// true, false or some of the fields of USUAL; null when the stream is not to go on. Throws RangeError and TypeError.
export function reconnectOptions(given) {
  if (given === false) return null;
  const fields = given === true ? {} : given;
  for (const name of Object.keys(fields)) {
    if (!(name in USUAL)) throw new TypeError(`reconnect.${name}: expected one of ${Object.keys(USUAL).join(", ")}`);
  }
  const all = { ...USUAL, ...fields };
  if (!(all.attempts >= 1)) throw new RangeError(`reconnect.attempts: expected at least 1, got ${all.attempts}`);
  if (!(all.backlog_bytes >= 1)) throw new RangeError(`reconnect.backlog_bytes: expected at least 1, got ${all.backlog_bytes}`);
  if (!(0 <= all.first_wait_s && all.first_wait_s <= all.longest_wait_s)) {
    throw new RangeError(`reconnect: expected 0 <= first_wait_s <= longest_wait_s, got ${all.first_wait_s} and ${all.longest_wait_s}`);
  }
  return all;
}

// Whether another attempt may succeed. A server that was never reached gets no other attempt.
export function isWorthAnotherTry(error, wasConnected) {
  if (error instanceof ClosedError) return PASSING_CODES.has(error.code);
  if (!(error instanceof ConnectError)) return false;
  return error.status === null ? wasConnected : PASSING_STATUS.has(error.status);
}

// The seconds before an attempt (from 1): twice as many each time, at least as many as the server asks for, and random within
// a range, so that the clients of a server do not all return at once.
export function wait_s({ first_wait_s, longest_wait_s }, error, attempt) {
  const most_s = Math.min(longest_wait_s, first_wait_s * 2 ** Math.min(attempt - 1, 30));
  return Math.max(retryAfter_s(error.retryAfter), most_s * (0.5 + Math.random() / 2));
}

// The seconds of either form of the header; 0 for no header and one that cannot be read.
function retryAfter_s(header) {
  if (!header) return 0;
  if (/^\d+$/.test(header.trim())) return Number(header);
  const at_ms = Date.parse(header);
  return Number.isNaN(at_ms) ? 0 : Math.max(0, (at_ms - Date.now()) / 1000);
}
