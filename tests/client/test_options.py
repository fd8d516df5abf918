"""The typed options are the arguments of a stream."""

from __future__ import annotations

import inspect

from voxgate.client import Options, Stream


def test_options_are_the_arguments_of_a_stream() -> None:
    arguments = list(inspect.signature(Stream).parameters)[1:]
    assert list(Options.__annotations__) == arguments
