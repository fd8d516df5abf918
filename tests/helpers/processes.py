"""Waiting for worker processes."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

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


def until(condition: Callable[[], bool], engine: ProcessEngine) -> None:
    with engine.pool.changed:
        assert engine.pool.changed.wait_for(condition, WAIT_S)
