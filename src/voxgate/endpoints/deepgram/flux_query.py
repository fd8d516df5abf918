"""The query of ``/v2/listen``, and the `Configure` messages that change what it asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from voxgate.endpoints.deepgram.query import CONTAINERS, REFUSED, audio_format_of
from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.formats import AUTO, ContainerFormat, Format
from voxgate.protocol.requests import Start, TurnOptions, VadOptions
from voxgate.protocol.turn_ranges import TURN_RANGES
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["Flux", "NotConfigurable", "Silence", "Thresholds", "parse_flux"]

EOT_THRESHOLD: Final = 0.7
"""Unless the client asks for another: the confidence after the server's own silence."""

EOT_RANGE: Final = (0.5, 1.0)
EAGER_RANGE: Final = (0.3, 0.9)
TIMEOUT_RANGE_MS: Final = (500, 60_000)

#: Options of models under Flux's name for them, and parameters that are never options.
KEYTERM_OPTIONS: Final = ("keyterms", "hotwords")
HINT_OPTIONS: Final = ("language_hints",)
ALIASES: Final = {name: "keyterm" for name in KEYTERM_OPTIONS} | {name: "language_hint" for name in HINT_OPTIONS}
OWN: Final = frozenset(
    {"model", "version", "encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms"}
    | {"callback", "redact", "tag", "mip_opt_out"}
)


class NotConfigurable(InvalidStart):
    """A `Configure` that cannot be carried out. `reason`: Deepgram's code."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Thresholds(Struct, frozen=True):
    """When a turn ends, in Flux's terms."""

    eot_threshold: float = EOT_THRESHOLD
    """0.5..1.0; at 1.0, only the timeout and the client end a turn."""
    eager_eot_threshold: float | None = None
    """0.3..0.9; None: no EagerEndOfTurn."""
    eot_timeout_ms: int = 5000

    def check(self) -> Thresholds:
        """Itself. Raises InvalidStart for a value out of its range."""
        _check("eot_threshold", self.eot_threshold, EOT_RANGE)
        _check("eot_timeout_ms", self.eot_timeout_ms, TIMEOUT_RANGE_MS)
        if self.eager_eot_threshold is not None:
            _check("eager_eot_threshold", self.eager_eot_threshold, EAGER_RANGE)
            if self.eager_eot_threshold > self.eot_threshold:
                raise InvalidStart(
                    f"eager_eot_threshold: expected at most eot_threshold ({self.eot_threshold:g}), "
                    f"got {self.eager_eot_threshold:g}"
                )
        return self


class Silence(Struct, frozen=True):
    """How the server turns confidence into silence: it rises in proportion to the silence after the last word, up to
    `EOT_THRESHOLD` where the server itself would end a segment.
    """

    usual_ms: int
    """The server's own silence."""
    shortest_ms: int
    """A shorter one counts as this."""

    def of(self, thresholds: Thresholds) -> int:
        """The silence that ends a turn, in ms."""
        timeout_ms = thresholds.eot_timeout_ms
        silence_ms = timeout_ms if self._is_by_timeout(thresholds) else self._by_confidence(thresholds)
        return min(max(silence_ms, self.shortest_ms), int(VAD_RANGES["silence_duration_ms"].highest))

    def trigger(self, thresholds: Thresholds) -> str:
        """What ends a turn by silence: `model` or `timeout`."""
        return "timeout" if self._is_by_timeout(thresholds) else "model"

    def confidence(self, thresholds: Thresholds) -> float:
        """That a turn which silence has ended is over."""
        reached = min(1.0, EOT_THRESHOLD * self.of(thresholds) / self.usual_ms)
        if self._is_by_timeout(thresholds):
            return min(reached, thresholds.eot_threshold)
        return max(reached, thresholds.eot_threshold)

    def _by_confidence(self, thresholds: Thresholds) -> int:
        return round(self.usual_ms * thresholds.eot_threshold / EOT_THRESHOLD)

    def _is_by_timeout(self, thresholds: Thresholds) -> bool:
        if thresholds.eot_threshold >= EOT_RANGE[1]:
            return True
        return max(self._by_confidence(thresholds), self.shortest_ms) > thresholds.eot_timeout_ms


class Flux(Struct, frozen=True):
    """What a client asks for."""

    format: Format
    thresholds: Thresholds
    silence: Silence
    options: dict[str, Any] | None = None
    """Of the model."""
    option_names: frozenset[str] = frozenset()
    """Those that the model declares."""
    keyterms: Sequence[str] = ()
    language_hints: Sequence[str] = ()
    has_turn_detector: bool = False
    """The server has one: its probability is the confidence, and silence decides when it is not sure."""

    @property
    def start(self) -> Start:
        """Eager results do not depend on the thresholds, so that these may change while a turn goes on."""
        return Start(
            self.format,
            interim_results=True,
            vad=VadOptions(silence_duration_ms=self.silence.of(self.thresholds)),
            notices=True,
            eager=True,
            options=self.options,
            turn=self._turn,
        )

    @property
    def _turn(self) -> TurnOptions | None:
        if not self.has_turn_detector:
            return None
        longest_ms = min(self.thresholds.eot_timeout_ms, int(TURN_RANGES["max_silence_ms"].highest))
        return TurnOptions(threshold=self.thresholds.eot_threshold, max_silence_ms=longest_ms)

    def configured(self, message: Mapping[str, Any]) -> Flux:
        """With what a `Configure` changes. Raises NotConfigurable."""
        changed = replace(self, thresholds=self._thresholds(message))
        if "keyterms" in message:
            changed = changed._with("keyterms", _texts("keyterms", message["keyterms"]), KEYTERM_OPTIONS)
            if changed.keyterms and self.option_names.isdisjoint(KEYTERM_OPTIONS):
                raise NotConfigurable("CONFIGURE_KEYTERMS_NOT_SUPPORTED", "keyterms: the model takes none")
        if "language_hints" in message:
            hints = _texts("language_hints", message["language_hints"])
            changed = changed._with("language_hints", hints, HINT_OPTIONS)
        if changed.start != self.start and isinstance(self.format, ContainerFormat):
            raise NotConfigurable(
                "CONFIGURE_NOT_SUPPORTED",
                "the audio is in a container: expected only eager_eot_threshold, and thresholds of the same silence",
            )
        return changed

    def _thresholds(self, message: Mapping[str, Any]) -> Thresholds:
        given = message.get("thresholds")
        if given is None:
            return self.thresholds
        if not isinstance(given, dict):
            raise NotConfigurable("CONFIGURE_INVALID", f"thresholds: expected an object, got {shown(given)}")
        values: dict[str, Any] = {}
        for name in Thresholds.__struct_fields__:
            if name in given:
                value = given[name]
                kinds = int if name == "eot_timeout_ms" else (int, float)
                if value is None:
                    value = getattr(Thresholds(), name)
                elif isinstance(value, bool) or not isinstance(value, kinds):
                    raise NotConfigurable(
                        "CONFIGURE_INVALID", f"thresholds.{name}: expected a number, got {shown(value)}"
                    )
                values[name] = value
        try:
            return replace(self.thresholds, **values).check()
        except InvalidStart as error:
            raise NotConfigurable("CONFIGURE_INVALID", f"thresholds.{error}") from None

    def _with(self, name: str, texts: Sequence[str], options: Sequence[str]) -> Flux:
        """With other `texts` in its field `name`, and in those of `options` that the model declares."""
        changed = {key: value for key, value in (self.options or {}).items() if key not in options}
        if texts:
            changed |= {option: list(texts) for option in options if option in self.option_names}
        return replace(self, options=changed or None, **{name: texts})


def parse_flux(
    query: bytes,
    *,
    silence: Silence,
    options_schema: Mapping[str, Any] | None = None,
    has_turn_detector: bool = False,
) -> Flux:
    """Raises InvalidStart naming the parameter, what was expected, and what came. `options_schema`: of the model's
    options; parameters of their names are options. Unknown parameters are ignored, as on ``/v1/listen``.
    """
    values = Parameters(query)
    for name, why in REFUSED.items():
        if values.asks_for(name):
            raise InvalidStart(f"{name} is not supported: {why}")
    timeout_ms = values.number("eot_timeout_ms")
    thresholds = Thresholds(
        _threshold(values, "eot_threshold", EOT_THRESHOLD),
        _threshold(values, "eager_eot_threshold", None),
        Thresholds().eot_timeout_ms if timeout_ms is None else timeout_ms,
    )
    return Flux(
        _format(values),
        thresholds.check(),
        silence,
        values.options(options_schema, ALIASES, OWN),
        frozenset(() if options_schema is None else options_schema.get("properties", ())),
        tuple(values.all("keyterm")),
        tuple(values.all("language_hint")),
        has_turn_detector,
    )


def _format(values: Parameters) -> Format:
    """A turn has one speaker: the channels of a container are mixed."""
    encoding = values.text("encoding")
    if encoding is None or encoding in CONTAINERS:
        return ContainerFormat(AUTO, mono=True)
    return audio_format_of(values, encoding, n_channels=1)


def _threshold(values: Parameters, name: str, default: Any) -> Any:
    text = values.text(name)
    if text is None:
        return default
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise InvalidStart(f"{name}: expected a number, got {shown(text)}") from None


def _check(name: str, value: float, limits: tuple[float, float]) -> None:
    lowest, highest = limits
    if not lowest <= value <= highest:
        raise InvalidStart(f"{name}: expected a number between {lowest:g} and {highest:g}, got {value:g}")


def _texts(name: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise NotConfigurable("CONFIGURE_INVALID", f"{name}: expected a list of texts, got {shown(value)}")
    return tuple(texts)
