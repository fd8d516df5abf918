"""What was logged in a test."""

from __future__ import annotations

import re

import pytest

# The watchdog and the tasks warn when the machine is busy, which says nothing about the code under test.
_IS_OF_TIME = re.compile(r"the event loop was held for|held the event loop for")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages, without the warnings about the time that something took."""
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if not _IS_OF_TIME.search(message)]
