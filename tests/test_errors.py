from __future__ import annotations

import pytest

from voxgate import errors

WIRE = [
    (errors.VoxgateError, "internal", None),
    (errors.InvalidMessage, "invalid_message", None),
    (errors.NotStarted, "not_started", None),
    (errors.InvalidStart, "invalid_start", None),
    (errors.StreamTimeout, "timeout", 1008),
    (errors.Unauthorized, "unauthorized", 1008),
    (errors.Overloaded, "overloaded", 1013),
    (errors.InferenceError, "inference_failed", None),
    (errors.InternalError, "internal", 1011),
]


@pytest.mark.parametrize(("error", "code", "close_code"), WIRE, ids=lambda value: getattr(value, "__name__", None))
def test_codes_on_the_wire(error: type[errors.VoxgateError], code: str, close_code: int | None) -> None:
    assert (error.code, error.close_code) == (code, close_code)
    assert issubclass(error, errors.VoxgateError)
    assert str(error("what came")) == "what came"


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
