from __future__ import annotations

from voxgate.runtime.backoff import Backoff


def test_it_doubles_up_to_its_longest_and_starts_again_after_a_success() -> None:
    backoff = Backoff(0.5, 50)
    assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 50, 50]
    backoff.reset()
    assert backoff.next_s() == 0.5
    backoff.in_a_row = 5000
    assert backoff.next_s() == 50
