"""The fixture for pytest. A ``conftest.py`` loads it: ``pytest_plugins = ["voxgate.testing.pytest_plugin"]``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from voxgate.testing.server import LocalServer, serving

__all__ = ["model_server"]


@pytest.fixture
def model_server() -> Iterator[Callable[..., LocalServer]]:
    """``model_server(model, settings)`` serves a model until the test ends, and returns the
    :class:`~voxgate.testing.LocalServer`. The arguments are those of :func:`~voxgate.testing.serving`. A test may
    start several servers.
    """
    with contextlib.ExitStack() as stack:

        def start(model: Any, settings: Mapping[str, Any] | None = None, **options: Any) -> LocalServer:
            return stack.enter_context(serving(model, settings, **options))

        yield start
