"""Every setting of the server: its type, default, range and meaning. Frozen, and checked when it is loaded."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Struct, field

__all__ = [
    "SECTIONS",
    "SETTINGS",
    "About",
    "AudioSettings",
    "AuthSettings",
    "Config",
    "InferenceSettings",
    "LimitsSettings",
    "MetricsSettings",
    "ModelSettings",
    "ServerSettings",
    "Setting",
    "SimpleSettings",
    "VadSettings",
    "plain",
]


class About(NamedTuple):
    """What is known about a setting beyond its type. Both ends of the range are allowed."""

    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    or_attribute: bool = False  # beside the choices, "pkg.module:attr" is allowed
    empty: bool = False  # a string without characters is allowed
    secret: bool = False  # never printed, logged or quoted in an error


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Where the server listens and how it talks about itself."""

    host: Annotated[str, About("Address to listen on; `0.0.0.0` or `::` for every interface.")] = "127.0.0.1"
    port: Annotated[int, About("TCP port to listen on; 0 takes any free one.", 0, 65535)] = 8080
    workers: Annotated[
        int,
        About(
            "Server processes that share the port. Each loads the model and has the limits for itself; one that dies "
            "is replaced.",
            1,
            1024,
        ),
    ] = 1
    drain_s: Annotated[
        float,
        About(
            "Time until the process ends when it is asked to, in seconds: running sessions may finish; those that have "
            "not by the last tenth of it (at most 2 s) are ended, get their finals and are closed with 1001.",
            0,
            86_400,
        ),
    ] = 30.0
    tls_certificate: Annotated[
        str | None, About("Path of the certificate (PEM, with its chain); with it the server speaks TLS.")
    ] = None
    tls_key: Annotated[
        str | None, About("Path of the certificate's private key (PEM); when not set, it stands in the same file.")
    ] = None
    trusted_proxies: Annotated[
        str,
        About(
            "Addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, "
            "separated by commas; `*` believes everybody. Empty: nobody.",
            empty=True,
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        About(
            "Names by which clients may call the server (the `Host` of a request, whatever its port), separated by "
            "commas: names, `*.example.com`, addresses, networks, `local` for `localhost`, `127.0.0.0/8` and `[::1]`, "
            "`*` for any. `auto` is `local` when the server listens on a loopback address and asks for no token, "
            "otherwise `*`. Proxies in `trusted_proxies` may use any name, and so may `health` and `ready`.",
        ),
    ] = "auto"
    log_format: Annotated[
        str,
        About(
            "How log lines are written: for people (`human`) or as JSON objects (`json`); `auto` is human on a "
            "terminal.",
            choices=("auto", "human", "json"),
        ),
    ] = "auto"
    log_level: Annotated[
        str, About("Least severe level that is logged.", choices=("debug", "info", "warning", "error", "critical"))
    ] = "info"
    send_timeout_s: Annotated[
        float,
        About("A client that takes in nothing of what is sent to it for this long is cut off, in seconds.", 1, 3600),
    ] = 20.0
    receive_buffer_bytes: Annotated[
        int,
        About(
            "Receive buffer of a client's socket, in bytes. A small one holds a client back sooner, so that less audio "
            "stands before its pings; a large one carries more over a long way: about this much per round trip.",
            4096,
            16_777_216,
        ),
    ] = 32_768

    @property
    def bare_host(self) -> str:
        """`host` as the system takes it: an IPv6 address may stand in brackets, as in an URL."""
        return self.host[1:-1] if self.host.startswith("[") and self.host.endswith("]") else self.host


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """What a client may ask for, and how much of it at once."""

    streams: Annotated[int, About("Connections at once; further ones get HTTP 503.", 1, 1_000_000)] = 1024
    streams_per_address: Annotated[
        int,
        About("Connections at once from one address; further ones get HTTP 429.", 1, 1_000_000),
    ] = 256
    queue_wait_s: Annotated[
        float,
        About(
            "When calls wait longer than this for the model, in seconds, new streams get HTTP 503. From half of it on "
            "no more come in than the model was found to bear.",
            0.01,
            3600,
        ),
    ] = 1.0
    total_buffered_audio_s: Annotated[
        float,
        About(
            "Audio of all streams that may wait for the model, in seconds; then new streams get HTTP 503, and streams "
            "that have more than their share of it are no longer read from.",
            1,
            10_000_000,
        ),
    ] = 3600.0
    channels: Annotated[int, About("Channels of one stream.", 1, 64)] = 8
    min_sample_rate: Annotated[int, About("Lowest sample rate of a stream, in Hz.", 4000, 192_000)] = 4000
    max_sample_rate: Annotated[int, About("Highest sample rate of a stream, in Hz.", 4000, 192_000)] = 192_000
    message_bytes: Annotated[
        int, About("Largest message of a client, in bytes; a larger one closes with 1009.", 1024, 268_435_456)
    ] = 1_048_576
    message_fragments: Annotated[
        int, About("Frames that one message may be cut into; more close with 1009.", 1, 1_000_000)
    ] = 1024
    frames_per_second: Annotated[
        int,
        About(
            "Websocket frames of one connection that are taken in per second, pings included; a client that sends more "
            "is held back.",
            10,
            10_000_000,
        ),
    ] = 5000
    handshake_timeout_s: Annotated[
        float,
        About("Time from connecting until the request is complete, in seconds; then the connection is cut.", 0.1, 3600),
    ] = 10.0
    message_timeout_s: Annotated[
        float,
        About("Time from the first to the last byte of one message, in seconds; then it closes with 1008.", 0.1, 3600),
    ] = 20.0
    start_timeout_s: Annotated[
        float, About("Time from connecting until the first `start`, in seconds.", 0.1, 86_400)
    ] = 10.0
    idle_timeout_s: Annotated[
        float, About("Time without any message of the client until it is closed, in seconds.", 0.1, 86_400)
    ] = 60.0
    session_s: Annotated[
        float,
        About("Longest connection, in seconds; then its results are sent and it is closed with 1008.", 1, 31_536_000),
    ] = 86_400.0
    invalid_messages: Annotated[
        int, About("Invalid messages of one connection until it is closed with 1008.", 1, 1_000_000)
    ] = 8
    buffered_audio_s: Annotated[
        float,
        About("Audio of one stream that may wait for the model, in seconds; then reading pauses.", 1, 3600),
    ] = 30.0
    segment_audio_s: Annotated[
        float,
        About(
            "Audio that the open segments of one stream may hold, all channels together, in seconds (64 KB each at "
            "16 kHz): `vad.max_segment_s` is at most this, divided by the channels.",
            1,
            100_000,
        ),
    ] = 300.0
    unsent_events: Annotated[
        int,
        About("Events that may wait for a client which does not read them; then reading pauses.", 2, 1_000_000),
    ] = 256
    unsent_bytes: Annotated[
        int,
        About("Bytes of events that may wait for a client which does not read them; then reading pauses.", 1024, 2**30),
    ] = 1_048_576


class AuthSettings(Struct, frozen=True, kw_only=True):
    """Who may open a stream. Without tokens and without a hook everybody may."""

    tokens: Annotated[
        str,
        About(
            "Tokens that are let in, separated by commas; better in the environment (`VOXGATE_AUTH_TOKENS`) or in "
            "`tokens_file` than here.",
            empty=True,
            secret=True,
        ),
    ] = ""
    tokens_file: Annotated[
        str | None, About("Path of a file with a token a line; `#` begins a comment. It is read once, at the start.")
    ] = None
    hook: Annotated[
        str | None,
        About(
            "`pkg.module:function` that is asked about every token: `function(token: str) -> bool`, plain or async. "
            "What `tokens` and `tokens_file` hold is let in without asking."
        ),
    ] = None
    hook_timeout_s: Annotated[
        float, About("Time the hook may take, in seconds; then who was asked about is refused with 503.", 0.1, 600)
    ] = 5.0
    hook_calls: Annotated[
        int,
        About(
            "Questions to the hook at once, a quarter of them for one address; whoever comes beyond them is refused "
            "with 503.",
            1,
            1024,
        ),
    ] = 64
    in_start: Annotated[
        bool,
        About(
            "Whether a client may connect without a token and bring it in its first `start`; otherwise it gets HTTP "
            "401 at once."
        ),
    ] = True
    pending_streams: Annotated[
        int,
        About(
            "Connections at once whose token is not known to be good yet, at most a quarter of `limits.streams`; one "
            "address may have a quarter of them. Further ones get HTTP 503 or 429.",
            1,
            1_000_000,
        ),
    ] = 64
    metrics: Annotated[bool, About("Whether `/metrics` asks for a token too, when there are any.")] = True
    origins: Annotated[
        str,
        About(
            "Origins of web pages that may connect, separated by commas, such as `https://app.example.com`; "
            "`same-origin` is the server's own page, `*` any. Clients that send no origin are no web pages.",
        ),
    ] = "same-origin"

    def __repr__(self) -> str:
        return "AuthSettings(...)"  # the default one would print the tokens


class MetricsSettings(Struct, frozen=True, kw_only=True):
    """What Prometheus reads."""

    port: Annotated[
        int | None,
        About(
            "A port of its own for `/metrics`; when not set, it is on the server's port. 0 takes any free one.",
            0,
            65535,
        ),
    ] = None
    max_age_s: Annotated[
        float,
        About(
            "Who asks for `/metrics` within this time of another gets the same answer, in seconds, so that asking often"
            " costs little. 0: each answer is made anew.",
            0,
            60,
        ),
    ] = 1.0


class AudioSettings(Struct, frozen=True, kw_only=True):
    """How audio is brought to the model's sample rate."""

    resampler: Annotated[
        str,
        About(
            "Resampler of a stream: `polyphase` has the low delay, `soxr` is the SoX resampler library.",
            choices=("polyphase", "soxr"),
        ),
    ] = "polyphase"
    soxr_quality: Annotated[str, About("Quality of the `soxr` resampler.", choices=("QQ", "LQ", "MQ", "HQ", "VHQ"))] = (
        "HQ"
    )


class VadSettings(Struct, frozen=True, kw_only=True):
    """Voice-activity detection on the segmented route. A client may override `threshold` to `max_segment_s`."""

    detector: Annotated[
        str,
        About("What tells speech from the rest, frame by frame.", choices=("silero", "energy"), or_attribute=True),
    ] = "silero"
    weights: Annotated[
        str | None, About("Path of the detector's weights; when not set, the installed ones are taken.")
    ] = None
    threshold: Annotated[float, About("Speech begins at this probability.", 0.01, 0.99)] = 0.5
    negative_threshold: Annotated[
        float,
        About(
            "Silence begins below this probability; at most `threshold`, and lowered to it when only that is set.",
            0,
            0.99,
        ),
    ] = 0.35
    prefix_padding_ms: Annotated[int, About("Audio kept before the first speech frame, in ms.", 0, 5000)] = 600
    suffix_padding_ms: Annotated[int, About("Audio kept after the last speech frame, in ms.", 0, 2000)] = 0
    silence_duration_ms: Annotated[int, About("Silence that ends a segment, in ms.", 50, 10_000)] = 600
    min_speech_ms: Annotated[int, About("Shorter speech opens no segment, in ms.", 0, 2000)] = 90
    max_segment_s: Annotated[float, About("A segment this long is cut and goes on, in seconds.", 1, 300)] = 30.0
    interim_interval_ms: Annotated[int, About("Audio between two interim results of a segment, in ms.", 50, 60_000)] = (
        500
    )

    stall_flush_ms: Annotated[
        int,
        About(
            "When the audio of an open segment stops coming for this long, in ms of the clock, its final is sent "
            "without waiting for more; 0: never.",
            0,
            600_000,
        ),
    ] = 2000

    def tunables(self) -> dict[str, Any]:
        """The settings that vad.VadConfig has as keywords, by name: all that the detection itself depends on."""
        others = ("detector", "weights", "stall_flush_ms")
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in others}


class InferenceSettings(Struct, frozen=True, kw_only=True):
    """How the model is run."""

    isolation: Annotated[
        str,
        About(
            "Where the model runs: on `threads` of the server's process, or in worker processes (`process`), which "
            "survive a model that crashes, hangs or holds the GIL. One that says it holds the GIL gets them anyway.",
            choices=("threads", "process"),
        ),
    ] = "threads"
    threads: Annotated[
        int, About("Threads that run the model; 0 takes the model's own wish, or one for each CPU.", 0, 1024)
    ] = 0
    processes: Annotated[int, About("Worker processes that run the model; 0: one for each CPU.", 0, 1024)] = 0
    restart_backoff_s: Annotated[
        float,
        About(
            "Time until a worker process that ended is started again, in seconds; doubles with each end in a row, up "
            "to 100 times as long.",
            0.01,
            60,
        ),
    ] = 0.1
    deadline_s: Annotated[
        float, About("Time a call may wait and run in all, in seconds; then it fails.", 0.1, 86_400)
    ] = 60.0
    max_batch_size: Annotated[int, About("Calls that one batch may join, of any streams.", 1, 1024)] = 16
    max_batch_seconds: Annotated[
        float,
        About("Audio of a batch, padding included, in seconds; a longer call runs alone.", 0.1, 86_400),
    ] = 120.0
    batch_window_ms: Annotated[
        float,
        About(
            "Time a batch that is not full waits for more, in ms; 0 takes what is there. A stream that is alone never "
            "waits.",
            0,
            10_000,
        ),
    ] = 0.0
    per_stream: Annotated[
        int,
        About("Calls of one stream that the model may have at once; further ones wait, interims aside.", 1, 1024),
    ] = 4
    max_jobs: Annotated[
        int,
        About(
            "Calls of all streams that may wait for the model; further ones wait in their streams, and fail after "
            "`inference.deadline_s`.",
            1,
            1_000_000,
        ),
    ] = 4096
    max_seconds: Annotated[
        float,
        About(
            "Audio of all streams that may wait for the model, in seconds; 64 KB each at 16 kHz. Further calls wait as "
            "with `max_jobs`.",
            1,
            10_000_000,
        ),
    ] = 3600.0
    stream_jobs: Annotated[
        int,
        About(
            "Calls of one stream that may wait for the model; from half of them on the stream is held back.",
            1,
            1_000_000,
        ),
    ] = 512
    stream_seconds: Annotated[
        float,
        About(
            "Audio of one stream that may wait for the model, in seconds; further calls wait as with `max_jobs`.",
            1,
            10_000_000,
        ),
    ] = 600.0
    warm_up: Annotated[bool, About("Run the model once before the server says it is ready.")] = True


class SimpleSettings(Struct, frozen=True, kw_only=True):
    """How audio is grouped into calls of the model on the simple and the stateful route."""

    min_chunk_ms: Annotated[int, About("Least audio of a call, in ms; the last one may be shorter.", 0, 60_000)] = 100
    max_chunk_s: Annotated[float, About("Most audio of a call, in seconds.", 0.1, 3600)] = 30.0


class ModelSettings(Struct, frozen=True, kw_only=True):
    """Which model is served, and the arguments of its constructor.

    In a file, every key of the section but ``name`` is such an argument; the section may also be a plain string, the
    name alone.
    """

    name: Annotated[
        str,
        About(
            "A built-in or installed name, `name:ARGUMENT`, or `pkg.module:attr` of a model or function. `auto`:"
            " `moonshine` where its extra is installed, else `features`; the log says which and why."
        ),
    ] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)


class Config(Struct, frozen=True, kw_only=True):
    """All settings. Made by :func:`load_config`, which checks them; the constructor itself does not."""

    server: ServerSettings = ServerSettings()
    limits: LimitsSettings = LimitsSettings()
    auth: AuthSettings = AuthSettings()
    metrics: MetricsSettings = MetricsSettings()
    audio: AudioSettings = AudioSettings()
    vad: VadSettings = VadSettings()
    inference: InferenceSettings = InferenceSettings()
    simple: SimpleSettings = SimpleSettings()
    model: ModelSettings = ModelSettings()


class Setting(NamedTuple):
    """What the loader and the reference know of a setting."""

    key: str  # dotted
    kind: type  # bool, int, float or str
    optional: bool
    default: Any
    about: About

    @property
    def allowed(self) -> str:
        """The values that are allowed, in words."""
        about = self.about
        if about.choices:
            choices = " or ".join(filter(None, [", ".join(about.choices[:-1]), about.choices[-1]]))
            return f"{', '.join(about.choices)} or pkg.module:attr" if about.or_attribute else choices
        if about.minimum is not None:
            return f"{plain(about.minimum)}..{plain(about.maximum)}"
        return {"bool": "true or false", "str": "a string"}[self.kind.__name__]


def plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


SECTIONS: Final[dict[str, type[Struct]]] = {
    name: kind for name, kind in typing.get_type_hints(Config).items() if isinstance(kind, type)
}


def _settings() -> Iterator[Setting]:
    for section, kind in SECTIONS.items():
        defaults = kind()
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            if typing.get_origin(hint) is not Annotated:
                continue
            base, about = typing.get_args(hint)
            optional = isinstance(base, types.UnionType)
            if optional:
                base = typing.get_args(base)[0]
            yield Setting(f"{section}.{name}", base, optional, getattr(defaults, name), about)


SETTINGS: Final = {setting.key: setting for setting in _settings()}
