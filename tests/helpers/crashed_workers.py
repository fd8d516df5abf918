"""A plugin of pytest: a run in which a process of pytest-xdist crashed does not end as one in which tests failed."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pytest_sessionfinish", "pytest_testnodedown"]

_CRASHED = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error:
        node.config.stash[_CRASHED] = True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # A crash is a fault of the compiled core, however busy the machine is: `make test` must not run its test once more.
    if session.config.stash.get(_CRASHED, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
