"""The phases of a server process."""

from __future__ import annotations

from voxgate.service.phase import Phase


def test_only_a_serving_process_accepts_streams() -> None:
    assert [phase.reason for phase in Phase] == [
        *("starting", "warming up the model"),
        None,
        *("draining", "stopping"),
    ]


def test_phases_are_in_order() -> None:
    assert sorted(Phase) == list(Phase)
