"""The lines that `make setup` shows while pip works."""

from __future__ import annotations

import io
import itertools

import pytest

from tools.install import show, step


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Collecting numpy<3,>=2.0 (from -r requirements.txt (line 3))\n", "looking for numpy"),
        ("  Downloading numba-0.63.1-cp311-cp311-manylinux2014_x86_64.whl (3.7 MB)\n", "downloading numba (3.7 MB)"),
        ("  Building editable for voxgate (pyproject.toml): started\n", "building voxgate"),
        ("Installing collected packages: a, b, c\n", "installing 3 packages"),
        ("Requirement already satisfied: pip in ./venv\n", None),
    ],
)
def test_a_line_of_pip(line: str, text: str | None) -> None:
    assert step(line) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LINES = ["Collecting numpy\n", "noise\n", "Collecting numba\n", "Installing collected packages: numba, numpy\n"]


def test_a_terminal_shows_each_step_on_one_line() -> None:
    out, clock = Terminal(), itertools.count(0, 3)
    assert show("libraries", LINES, out, lambda: float(next(clock))) == LINES
    assert out.getvalue() == (
        "\rlibraries: looking for numpy 3 s\x1b[K\rlibraries: looking for numba 6 s\x1b[K"
        "\rlibraries: installing 2 packages 9 s\x1b[K\r\x1b[K"
    )


def test_a_log_gets_a_line_every_five_seconds_at_most() -> None:
    out, clock = io.StringIO(), itertools.count(0, 3)
    show("libraries", LINES, out, lambda: float(next(clock)))
    assert out.getvalue() == "libraries: looking for numba, after 6 s\n"
