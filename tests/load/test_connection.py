"""What connections of every wire share: how they end."""

from __future__ import annotations

from typing import Any

import pytest

from voxgate.load.connection import Connection


class Counted(Connection):
    def __init__(self) -> None:
        super().__init__(None, lambda: 0.0)  # type: ignore[arg-type] - it connects to nothing
        self.n_ends = 0

    async def connect(self) -> None: ...
    def write(self, frame: Any) -> None: ...
    def unsent_bytes(self) -> int:
        return 0

    def abort(self, failure: str) -> None:
        self._fail(failure)

    def ended(self) -> None:
        self.n_ends += 1


def test_it_ends_once_with_the_first_reason():
    connection = Counted()
    connection.abort("first")
    connection.abort("second")
    assert (connection.n_ends, connection.failure, connection.is_over) == (1, "first", True)


@pytest.mark.parametrize(("code", "is_good"), [(None, False), (1000, True), (1005, True), (1011, False)])
def test_a_good_end(code, is_good):
    connection = Counted()
    connection.close_code = code
    assert connection.has_ended_well is is_good
