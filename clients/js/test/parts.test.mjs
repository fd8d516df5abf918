// The parts that need no server, from the source.

import assert from "node:assert/strict";
import { test } from "node:test";

const from = (name) => import(new URL(`../../../src/voxgate/web/client/${name}.js`, import.meta.url));
const { streamUrl, tokenProtocols } = await from("address");
const { ClosedError, ConnectError, RejectedError } = await from("errors");
const { Feed } = await from("feed");
const { isWorthAnotherTry, reconnectOptions, wait_s } = await from("reconnect");
const { stream } = await from("stream");

async function* numbered(...lengths) {
  let next = 0;
  for (const length of lengths) yield Uint8Array.from({ length }, () => next++);
}

async function rest(feed) {
  const bytes = [];
  for (let piece = await feed.next(); piece !== null; piece = await feed.next()) bytes.push(...piece);
  return bytes;
}

const range = (begin, end) => Array.from({ length: end - begin }, (_, i) => begin + i);

test("a feed gives its audio again from every position that is kept", async () => {
  for (let at = 0; at <= 10; at++) {
    const feed = new Feed(numbered(3, 1, 4, 2), 100);
    assert.deepEqual(await rest(feed), range(0, 10));
    feed.rewind(at);
    assert.deepEqual(await rest(feed), range(at, 10));
    feed.forget(at);
    assert.deepEqual(feed.oldest_bytes, [0, 0, 0, 3, 4, 4, 4, 4, 8, 8, 10][at]);
    feed.rewind(feed.oldest_bytes);
    assert.deepEqual(await rest(feed), range(feed.oldest_bytes, 10));
  }
});

test("a feed keeps at least its last bytes, and nothing before them", async () => {
  const feed = new Feed(numbered(4, 4, 4), 5);
  await rest(feed);
  assert.equal(feed.oldest_bytes, 4);
  assert.throws(() => feed.rewind(3), RangeError);
  assert.throws(() => feed.rewind(13), RangeError);
});

test("an interrupted feed loses nothing, and a stopped one ends", async () => {
  let give;
  const pieces = { next: () => new Promise((resolve) => (give = resolve)) };
  const feed = new Feed(pieces, 10);
  const waiting = feed.next();
  feed.interrupt();
  assert.equal(await waiting, null);
  give({ done: false, value: Uint8Array.of(7) });
  assert.deepEqual([...(await feed.next())], [7]);
  const last = feed.next();
  feed.stop();
  assert.equal(await last, null);
  feed.rewind(0);
  assert.deepEqual(await rest(feed), [7]);
});

test("waits double up to a limit, are spread, and are never shorter than what the server asks for", () => {
  const reconnect = reconnectOptions({ first_wait_s: 0.5, longest_wait_s: 3 });
  const lost = new ClosedError(1006, "");
  for (const [attempt, most_s] of [[1, 0.5], [2, 1], [3, 2], [4, 3], [5000, 3]]) {
    const waits = Array.from({ length: 50 }, () => wait_s(reconnect, lost, attempt));
    assert.ok(most_s / 2 <= Math.min(...waits) && Math.min(...waits) < Math.max(...waits) && Math.max(...waits) <= most_s);
  }
  const asked = (retryAfter) => wait_s(reconnect, new ConnectError({ status: 503, message: "full", retryAfter }), 1);
  assert.equal(asked("7"), 7);
  const hour_s = asked(new Date(Date.now() + 3600_000).toUTCString());
  assert.ok(3500 < hour_s && hour_s <= 3600);
  for (const header of [new Date(0).toUTCString(), "soon", null]) assert.ok(asked(header) <= 0.5);
});

test("what is worth another try", () => {
  const refused = (status) => new ConnectError({ status, message: "no" });
  for (const code of [1001, 1006, 1012, 1013]) assert.ok(isWorthAnotherTry(new ClosedError(code, ""), true));
  for (const code of [1000, 1002, 1005, 1008, 1009, 1011]) assert.ok(!isWorthAnotherTry(new ClosedError(code, ""), true));
  for (const status of [429, 502, 503, 504]) assert.ok(isWorthAnotherTry(refused(status), false));
  for (const status of [401, 403, 404, 500, 501]) assert.ok(!isWorthAnotherTry(refused(status), true));
  assert.deepEqual([true, false].map((was) => isWorthAnotherTry(refused(null), was)), [true, false]);
  assert.ok(!isWorthAnotherTry(new RejectedError("no", "invalid_start"), true));
});

test("addresses", () => {
  assert.equal(streamUrl("https://a.example").href, "wss://a.example/api/v1/segmented");
  assert.equal(streamUrl("http://a.example:81/b/api/v1/simple").href, "ws://a.example:81/b/api/v1/simple");
  assert.equal(streamUrl("ws://a.example/api/v1/stateful#x").href, "ws://a.example/api/v1/stateful");
  assert.throws(() => streamUrl("ftp://a.example"), TypeError);
  assert.throws(() => streamUrl("not an address"), TypeError);
});

test("a token of any characters fits a protocol's name", () => {
  assert.deepEqual(tokenProtocols(""), []);
  assert.deepEqual(tokenProtocols("ü?>~"), ["voxgate.v1", "voxgate.token.w7w_Pn4"]);
});

test("options that are none are named", () => {
  const url = "ws://a.example";
  const format = { sample_rate: 16000 };
  assert.throws(() => stream([], { url, format, interimResults: true }), /interimResults: no such option/);
  assert.throws(() => stream([], { url }), /format: expected/);
  assert.throws(() => stream([], { url, format: {} }), /format: expected sample_rate/);
  assert.throws(() => stream([], { url, format, reconnect: { tries: 3 } }), /reconnect.tries: expected one of/);
  assert.throws(() => stream([], { url, format, reconnect: { attempts: 0 } }), /reconnect.attempts: expected at least 1, got 0/);
});
