"""What kind of function a method is."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from voxgate.models.kinds import is_async, yields


def plain(audio: Any) -> None: ...


def generator(audio: Any) -> Any:
    yield


async def coroutine(audio: Any) -> None: ...


async def async_generator(audio: Any) -> Any:
    yield


class Called:
    def __call__(self, audio: Any) -> Any:
        yield


class CalledAsync:
    async def __call__(self, audio: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, (False, False)),
        (generator, (False, True)),
        (coroutine, (True, False)),
        (async_generator, (True, True)),
        (Called(), (False, True)),
        (CalledAsync(), (True, False)),
        (CalledAsync, (False, False)),  # The class makes an object, and does not wait.
        (functools.partial(coroutine, 1), (True, False)),
        (len, (False, False)),
        (3, (False, False)),
    ],
)
def test_kinds(function: Any, kind: tuple[bool, bool]) -> None:
    assert (is_async(function), yields(function)) == kind
