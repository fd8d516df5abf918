"""Waiting for worker processes."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

from helpers.job_source import WAIT_S
from voxgate.inference.engine.processes import ProcessEngine


def gone(pid: int) -> bool:
    """Waits for the end of any process, then says True."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(WAIT_S * 1000))
    finally:
        os.close(pidfd)


def children() -> set[int]:
    """The child processes of this one, running or not yet reaped. Other tests may have theirs: a browser, for one."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def until(condition: Callable[[], bool], engine: ProcessEngine) -> None:
    with engine.pool.changed:
        assert engine.pool.changed.wait_for(condition, WAIT_S)
