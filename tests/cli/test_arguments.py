from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from voxgate.cli.arguments import positive_float, whole


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("07", 7), ("10", 10)])
def test_whole_numbers(text, value):
    assert whole(1, 10)(text) == whole(1)(text) == value


@pytest.mark.parametrize("text", ["", "0", "11", "-1", "+1", "1.0", "1e1", "x", "²", "1_0"])
def test_what_is_no_whole_number_of_the_range(text):
    with pytest.raises(ArgumentTypeError, match="expected a whole number of 1 to 10, got"):
        whole(1, 10)(text)
    if text != "11":
        with pytest.raises(ArgumentTypeError, match="expected a whole number from 1, got"):
            whole(1)(text)


def test_numbers_above_zero():
    assert positive_float("0.5") == 0.5
    for text in ("0", "-1", "nan", "inf", "", "x"):
        with pytest.raises(ArgumentTypeError, match="expected a number above 0, got"):
            positive_float(text)
