// @voxgate/client: audio to a Voxgate server, and typed events back, in browsers and in Node.

export { serverInfo } from "./address.js";
export { ClientError, ClosedError, ConnectError, MissingResults, RejectedError } from "./errors.js";
export { listMicrophones, Microphone, whyNoMicrophone } from "./microphone.js";
export { recordedKind } from "./recorder.js";
export { Stream, stream } from "./stream.js";
