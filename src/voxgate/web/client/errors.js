// What iterating over a stream throws.

export class ClientError extends Error {
  get name() {
    return this.constructor.name;
  }
}

// The connection could not be opened. status: of HTTP, null when it is not known.
export class ConnectError extends ClientError {
  constructor({ status = null, code = null, message, retryAfter = null }) {
    super(message);
    this.status = status;
    this.code = code ?? null;
    this.retryAfter = retryAfter;
  }
}

// The connection ended before every result had come. code: of the websocket; 1006 without a close frame.
export class ClosedError extends ClientError {
  constructor(code, reason) {
    super(code === 1006 ? "the connection was lost" : reason || `the server closed the connection with code ${code}`);
    this.code = code;
    this.reason = reason;
  }
}

// The server answered the start or the audio with an error, and no session is open.
export class RejectedError extends ClientError {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

// The server closed in good order, and results are missing. problems: a line for each.
export class MissingResults extends ClientError {
  constructor(problems) {
    super(`results are missing: ${problems[0]}${problems.length > 1 ? ` (and ${problems.length - 1} more)` : ""}`);
    this.problems = problems;
  }
}
