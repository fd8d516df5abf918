/** Interleaved little-endian samples. `docs/protocol.md` of Voxgate lists the allowed values. */
export interface PcmFormat {
  /** 1 by default. */
  channels?: number;
  /** In Hz. */
  sample_rate: number;
  /** 16 by default. */
  bit_depth?: 8 | 16 | 24 | 32 | 64;
  is_float?: boolean;
  encoding?: "mulaw" | "alaw" | null;
}

/** The bytes of a container, which the server decodes. */
export interface ContainerFormat {
  container: "auto" | "webm" | "ogg" | "wav" | "flac" | "mp3" | "mp4" | "aac";
  /** The server mixes all channels to one. */
  mono?: boolean;
}

/** Voice-activity detection in this stream. What is missing has the server's setting. */
export interface VadOptions {
  threshold?: number;
  negative_threshold?: number;
  prefix_padding_ms?: number;
  suffix_padding_ms?: number;
  silence_duration_ms?: number;
  min_speech_ms?: number;
  max_segment_s?: number;
}

/** The server's turn detector in this stream. */
export interface TurnOptions {
  enabled?: boolean;
  min_silence_ms?: number;
  threshold?: number;
  unfinished_threshold?: number;
  eager_threshold?: number;
  max_silence_ms?: number;
}

interface OfSegment {
  channel: number;
  /** The number of the segment in its channel; with `notices`. */
  segment_id?: number;
}

/** Speech began. Times are seconds since the start of the stream, also after a lost connection. */
export interface Active extends OfSegment {
  type: "active";
  time: number;
}

/** Speech ended. */
export interface Inactive extends OfSegment {
  type: "inactive";
  time: number;
}

/** Speech went on after an eager result, which is therefore void. */
export interface Resumed extends OfSegment {
  type: "resumed";
  time: number;
}

/** A result of the model, whose fields are beside those of the event. */
export type Segment<Output = Record<string, unknown>> = Output &
  OfSegment & {
    type: "segment";
    start_time: number;
    end_time: number;
    /** Missing on routes that know no interims. */
    is_final?: boolean;
    /** Of an interim: the beginning of its text that has settled; with `stability`. */
    stable_text?: string;
    /** The final has the same result, unless speech goes on; with `eager`. */
    eager?: true;
    /** That the speaker had finished; with `turn`. */
    turn_probability?: number;
  };

/** A result without bounds. */
export type Data<Output = Record<string, unknown>> = Output & { type: "data"; channel: number };

/** Something failed; with the code `inference_failed`, it stands in the place of a result. */
export interface ErrorEvent extends OfSegment {
  type: "error";
  message: string;
  code: string;
}

/** How probable speech was, frame by frame; with `probabilities`. */
export interface Probabilities {
  type: "probabilities";
  start_time: number;
  step_s: number;
  /** 0 to 1. */
  values: number[];
  channel: number;
}

/** The session is open. This event and the next three come with `notices`. */
export interface Started {
  type: "started";
  session_id: string;
  model: string;
  limits: Record<string, number>;
  trace_id?: string;
  format?: { container: string; channels: number; sample_rate: number };
  options_schema?: object;
  turn_detector?: string;
  channel: number;
}

/** How far the session is, about once a second. */
export interface Progress {
  type: "progress";
  received_s: number;
  processed_s: number;
  lag_s: number;
  /** Below 1 keeps up. */
  real_time_factor: number;
  channel: number;
}

/** Everything that the server owed was sent. */
export interface Finished {
  type: "finished";
  received_s: number;
  processed_s: number;
  results: number;
  errors: number;
  channel: number;
}

/** The server shuts down, and the session may finish within this time. */
export interface Draining {
  type: "draining";
  grace_s: number;
  channel: number;
}

/** Told apart by `type`. A newer server may send other types: skip what you do not know. */
export type Event<Output = Record<string, unknown>> =
  | Active
  | Inactive
  | Resumed
  | Segment<Output>
  | Data<Output>
  | ErrorEvent
  | Probabilities
  | Started
  | Progress
  | Finished
  | Draining;

/** The base class of what iterating over a stream throws. */
export class ClientError extends Error {}

/** The connection could not be opened. */
export class ConnectError extends ClientError {
  /** Of HTTP; null when it is not known. */
  readonly status: number | null;
  readonly code: string | null;
  readonly retryAfter: string | null;
}

/** The connection ended before every result had come. */
export class ClosedError extends ClientError {
  /** Of the websocket; 1006 without a close frame. */
  readonly code: number;
  readonly reason: string;
}

/** The server answered the start or the audio with an error. */
export class RejectedError extends ClientError {
  readonly code: string;
}

/** The server closed in good order, and results are missing. */
export class MissingResults extends ClientError {
  readonly problems: string[];
}

/** The connection was lost or could not be opened; another attempt follows. */
export interface LostNotice {
  type: "lost";
  error: ClientError;
  /** Seconds of audio that were sent and not answered; they will be sent again. */
  unanswered_s: number;
  /** Until the attempt. */
  wait_s: number;
  /** From 1; an answer resets it. */
  attempt: number;
  attempts: number;
}

/** A new connection is open, and audio is sent from `at_s` on. */
export interface ResumedNotice {
  type: "resumed";
  at_s: number;
  /** Without a connection. */
  away_s: number;
  /** Seconds of audio before `at_s` that get no answer, because they exceeded `backlog_bytes`. */
  gap_s: number;
}

export interface ReconnectOptions {
  /** In a row without an answer; 10 by default. */
  attempts?: number;
  /** 0.5 by default; doubles up to `longest_wait_s`, and is never shorter than a Retry-After of the server. */
  first_wait_s?: number;
  /** 30 by default. */
  longest_wait_s?: number;
  /** Audio that is kept for sending again; 64 MiB by default. */
  backlog_bytes?: number;
  on_notice?: (notice: LostNotice | ResumedNotice) => void;
}

export interface StreamOptions {
  /** ws, wss, http or https; without a path the segmented route. In a browser it may be relative to the page. */
  url: string | URL;
  token?: string | null;
  /** Continue after a lost connection: unanswered audio is sent again, and no result is lost or comes twice. True by default. */
  reconnect?: boolean | ReconnectOptions;
  /** Also yield `started`, `progress`, `finished` and `draining`, and number the segments. */
  notices?: boolean;
  /** The class, for a Node before 22: that of the package ws. */
  WebSocket?: unknown;
  /** Results during speech. */
  interim_results?: boolean;
  stability?: boolean;
  eager?: boolean;
  probabilities?: boolean;
  vad?: VadOptions;
  turn?: TurnOptions;
  /** Of the model, by name. */
  options?: Record<string, unknown>;
  /** A W3C traceparent. */
  trace_id?: string | null;
}

type Bytes = ArrayBuffer | ArrayBufferView;

export type ByteSource = Bytes | Blob | ReadableStream<Bytes> | AsyncIterable<Bytes> | Iterable<Bytes>;

/** What a browser records, for `Microphone.open`. */
export interface RecordedKind {
  mimeType: string;
  container: string;
}

/** A microphone of a browser, at the rate of the device. */
export class Microphone {
  private constructor();
  /**
   * Opens the device; the browser asks for permission. Throws what getUserMedia throws.
   */
  static open(options?: {
    deviceId?: string;
    /** Echo cancellation, noise suppression and gain control of the browser. */
    processing?: boolean;
    /** Sends what MediaRecorder records in place of samples: the result of `recordedKind`. */
    recorded?: RecordedKind | null;
    /** The address of capture-worklet.js, when it does not lie beside the module or the bundle. */
    worklet?: string | URL;
  }): Promise<Microphone>;
  readonly label: string;
  /** In Hz. */
  readonly sampleRate: number;
  close(): void;
}

/** For one use: `for await (const event of stream)`. */
export class Stream<Output = Record<string, unknown>> implements AsyncIterable<Event<Output>> {
  constructor(source: Microphone, options: StreamOptions);
  constructor(source: ByteSource, options: StreamOptions & { format: PcmFormat | ContainerFormat });
  /** Ends the audio; the results of what was sent, or was recorded before this call, still come. */
  stop(): void;
  /** Ends everything at once: no more results come. */
  close(): void;
  /** Seconds of audio; of a container, those that the server has decoded. */
  readonly sent_s: number;
  /** Seconds of audio that were recorded or read and are not on the network yet; 0 for a container. */
  readonly unsent_s: number;
  /** Seconds of a microphone that silence has replaced, because more than `backlog_bytes` waited. */
  readonly missed_s: number;
  /** Whether everything is sent. Results may still be outstanding. */
  readonly isStopSent: boolean;
  [Symbol.asyncIterator](): AsyncGenerator<Event<Output>, void, undefined>;
}

/**
 * Streams a source to a server. Iterating throws ConnectError, ClosedError, RejectedError, MissingResults, and what the source
 * throws; leaving the loop closes the connection and the microphone.
 */
export function stream<Output = Record<string, unknown>>(source: Microphone, options: StreamOptions): Stream<Output>;
export function stream<Output = Record<string, unknown>>(
  source: ByteSource,
  options: StreamOptions & { format: PcmFormat | ContainerFormat },
): Stream<Output>;

/** The description of a server (`GET /api/v1/info`): its `model`, `routes`, `containers`, `options` and more. */
export function serverInfo(
  url: string | URL,
  options?: { token?: string },
): Promise<{ model: string; version: string; containers: string[]; options: object | null } & Record<string, unknown>>;

/** What this browser records and the server decodes, the best first; null when there is none. `containers`: of `serverInfo`. */
export function recordedKind(containers: string[]): RecordedKind | null;

/** Why this page gets no microphone; null when it may. */
export function whyNoMicrophone(): "insecure" | "unsupported" | null;

export function listMicrophones(): Promise<MediaDeviceInfo[]>;
