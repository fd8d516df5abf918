"""The fields of a transcription request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

from msgspec import Struct

from voxgate.endpoints.openai.errors import ApiError
from voxgate.errors import shown

__all__ = ["ResponseFormat", "TranscriptionOptions"]

ResponseFormat: TypeAlias = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: Final = get_args(ResponseFormat)
GRANULARITIES: Final = ("segment", "word")
_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False, "": False}


class TranscriptionOptions(Struct, frozen=True):
    """What a client asks for. `language` is empty when it names none."""

    response_format: ResponseFormat = "json"
    is_stream: bool = False
    language: str = ""
    granularities: frozenset[str] = frozenset({"segment"})

    @classmethod
    def of(cls, fields: Mapping[str, list[str]]) -> TranscriptionOptions:
        """`fields`: the values of each field, `[]` at the end of a name left out. Raises ApiError for a value that is
        not supported. Fields that change nothing here (`model`, `temperature`, `include`, `chunking_strategy`, and any
        unknown one) are ignored.
        """

        def last(name: str, default: str) -> str:
            return fields[name][-1] if fields.get(name) else default

        response_format = last("response_format", "json")
        if response_format not in FORMATS:
            raise _unsupported("response_format", FORMATS, response_format)
        stream = last("stream", "false").lower()
        if stream not in _BOOLEANS:
            raise _unsupported("stream", ("true", "false"), stream)
        granularities = fields.get("timestamp_granularities", ["segment"])
        for granularity in granularities:
            if granularity not in GRANULARITIES:
                raise _unsupported("timestamp_granularities", GRANULARITIES, granularity)
        return cls(
            cast(ResponseFormat, response_format),
            _BOOLEANS[stream],
            last("language", ""),
            frozenset(granularities),
        )


def _unsupported(name: str, allowed: tuple[str, ...], value: str) -> ApiError:
    return ApiError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}", name, "unsupported_value")
