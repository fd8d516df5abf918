"""The check of numeric options."""

from __future__ import annotations

import pytest

from voxgate.models.dummy import Dummy
from voxgate.models.pitch import Pitch
from voxgate.models.ranges import check_number


def test_both_ends_are_allowed_and_integers_become_floats() -> None:
    for value in (0, 0.0, 2, 2.0, 1.5):
        found = check_number("delay", value, 0, 2)
        assert (found, type(found)) == (float(value), float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.5, "delay must be within 0..2, not 2.5"),
        (-1, "delay must be within 0..2, not -1"),
        (float("nan"), "delay must be within 0..2, not nan"),
        (10**400, "delay must be within 0..2, not an integer of 1329 bits"),
        (True, "delay must be a number of 0..2, not True"),
        ("1", "delay must be a number of 0..2, not '1'"),
        (None, "delay must be a number of 0..2, not None"),
    ],
)
def test_another_value_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"^delay must be ") as caught:
        check_number("delay", value, 0, 2)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_every_model_refuses_an_integer_that_has_no_float() -> None:
    with pytest.raises(ValueError, match=r"^delay must be within 0\.\.3600, not an integer of 1329 bits$"):
        Dummy(delay=10**400)
    with pytest.raises(ValueError, match=r"^lowest_hz must be within 40\.\.400, not an integer of 1329 bits$"):
        Pitch(lowest_hz=10**400)
