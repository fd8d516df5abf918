from __future__ import annotations

import pytest

from voxgate import errors
from voxgate.protocol.closing import CloseReason

WIRE = [
    (errors.VoxgateError, "internal", False),
    (errors.InvalidMessage, "invalid_message", False),
    (errors.NotStarted, "not_started", False),
    (errors.InvalidStart, "invalid_start", False),
    (errors.StreamTimeout, "timeout", True),
    (errors.Unauthorized, "unauthorized", True),
    (errors.Overloaded, "overloaded", True),
    (errors.InferenceError, "inference_failed", False),
    (errors.InternalError, "internal", True),
    (errors.MediaError, "invalid_media", False),
    (errors.BrokenMedia, "invalid_media", False),
    (errors.UnsupportedMedia, "unsupported_media", False),
    (errors.TruncatedMedia, "truncated_media", False),
    (errors.MediaLimit, "media_limit", False),
    (errors.DecoderFailed, "decoder_failed", False),
]


@pytest.mark.parametrize(("error", "code", "is_fatal"), WIRE, ids=lambda value: getattr(value, "__name__", None))
def test_codes_on_the_wire(error: type[errors.VoxgateError], code: str, is_fatal: bool) -> None:
    assert (error.code, error.is_fatal) == (code, is_fatal)
    assert issubclass(error, errors.VoxgateError)
    assert str(error("what came")) == "what came"
    if is_fatal:
        assert CloseReason(code).value == code


def test_settings_errors_are_one_family() -> None:
    assert issubclass(errors.ModelLoadError, errors.ConfigError)
    assert issubclass(errors.WeightsError, errors.ConfigError)
    assert issubclass(errors.ConfigError, errors.VoxgateError)


def test_every_error_is_listed() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)
    assert {error for error, _, _ in WIRE} == {getattr(errors, name) for name in defined} - {
        errors.ConfigError, errors.ModelLoadError, errors.WeightsError,
    }  # fmt: skip


class Odd(Exception):
    def __init__(self, text: object) -> None:
        self.text = text

    def __str__(self) -> str:
        if isinstance(self.text, BaseException):
            raise self.text
        return self.text  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("plain: ü"), "plain: ü"),
        (ValueError("half a \ud83d"), "half a ?"),
        (Odd(ZeroDivisionError("no words")), "(str() of Odd failed)"),
        (Odd(SystemExit(1)), "(str() of Odd failed)"),
        (Odd(None), "(str() of Odd failed)"),
    ],
)
def test_the_text_of_any_exception(error: BaseException, text: str) -> None:
    assert errors.text_of(error) == text


def test_the_text_of_a_bug_is_always_the_same() -> None:
    assert str(errors.InternalError()) == errors.INTERNAL_ERROR == "Internal server error"
