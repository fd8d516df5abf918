// One websocket and its one session: start, audio, stop; events come back.

// Audio that may wait in the websocket to be sent; the rest waits before it.
export const FULL_BYTES = 1024 * 1024;

const OPEN = 1; // of readyState

export class Connection {
  #socket;
  #opened = false;
  #stopping = false;

  // start: the start message. on: { open(), event(event), close({ opened, asked, code, reason }) }, each called in order.
  // WebSocket: the class; a Node before 22 has none.
  constructor(url, protocols, start, on, WebSocket = globalThis.WebSocket) {
    if (WebSocket === undefined) throw new TypeError("WebSocket: there is none here; give one, such as that of the package ws");
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      this.#opened = true;
      this.#socket.send(JSON.stringify(start));
      on.open();
    };
    this.#socket.onmessage = ({ data }) => {
      let event;
      try {
        event = JSON.parse(data);
      } catch {
        return; // no server of ours says that
      }
      on.event(event);
    };
    let isOver = false;
    const close = ({ code, reason }) => {
      if (!isOver) on.close({ opened: this.#opened, asked: this.#stopping && code === 1000, code, reason });
      isOver = true;
    };
    this.#socket.onclose = close;
    // A close follows, but in Node 20 none does when there was no connection. Without a listener, the class of ws throws.
    this.#socket.onerror = () => {
      if (!this.#opened) close({ code: 1006, reason: "" });
    };
  }

  get waiting_bytes() {
    return this.#socket.bufferedAmount;
  }

  get isTaking() {
    return this.#socket.readyState === OPEN && !this.#stopping;
  }

  send(samples) {
    if (this.isTaking) this.#socket.send(samples);
  }

  // No more audio. The server answers what it owes, and closes.
  stop() {
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#socket.readyState === OPEN) {
      this.#socket.send('{"request":"stop","disconnect":true}');
    } else {
      this.#socket.close();
    }
  }

  // No results are outstanding.
  abandon() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
