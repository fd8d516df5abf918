"""The immediate end of a process."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import NoReturn

__all__ = ["end_process"]


def end_process(code: int) -> NoReturn:
    """Ends the process at once, from any thread or signal handler: waits for no thread and runs no clean-up. What has
    been written to the log, standard output and standard error is not lost.
    """
    try:
        logging.shutdown()
        for file in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                file.flush()
    finally:
        os._exit(code)  # also when a signal handler interrupts the writing of a line
