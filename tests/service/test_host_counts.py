"""The streams of several processes, counted in one file."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from voxgate.config import AuthSettings, LimitsSettings
from voxgate.service.admission import Admission, Permit, Refusal
from voxgate.service.client_info import ClientInfo
from voxgate.service.host_counts import HostCounts


def counts(path: Path, number: int, max_streams: int = 8, n_processes: int = 2) -> HostCounts:
    return HostCounts(path / "streams", number, n_processes, max_streams)


def test_limits_hold_over_processes(tmp_path: Path) -> None:
    one, other = counts(tmp_path, 0), counts(tmp_path, 1)
    assert [each.enter("a", 8, 3) for each in (one, other, one)] == [None] * 3
    assert (one.enter("a", 8, 3), other.enter("a", 8, 3)) == ("streams_per_address",) * 2
    assert [other.enter(None, 8, 3) for _ in range(5)] == [None] * 5
    assert one.enter("b", 8, 3) == "streams"
    assert one.streams == other.streams == 8
    one.leave("a")
    assert other.enter("b", 8, 3) is None
    one.close()
    other.close()


def test_limits_of_tokens_hold_over_processes(tmp_path: Path) -> None:
    one, other = counts(tmp_path, 0), counts(tmp_path, 1)
    assert one.enter("a", 8, 1) is None
    assert [each.enter_token("a", 2) for each in (one, other, one, other)] == [True, True, False, False]
    assert other.enter_token("b", 1)
    assert one.streams == 1  # A token adds no stream, and is no address.
    one.leave_token("a")
    assert other.enter_token("a", 2)
    del other  # Killed.
    other = counts(tmp_path, 1)
    assert [one.enter_token("a", 1), one.enter_token("a", 1)] == [True, False]
    one.close()
    other.close()


class Calm:
    """A server without load."""

    not_ready = None
    draining_until_s = None
    queue_wait_s = 0.0
    buffered_audio_is_full = False


def test_a_client_counts_with_its_token_in_all_processes(tmp_path: Path) -> None:
    processes = [Admission(LimitsSettings(), AuthSettings(), Calm()) for _ in range(2)]
    for number, admission in enumerate(processes):
        admission.host = counts(tmp_path, number)
    one, other = [admission.admit(ClientInfo("a")) for admission in processes]
    assert isinstance(one, Permit)
    assert isinstance(other, Permit)
    assert one.count_token("x", 1) is None
    refused = other.count_token("x", 1)
    assert isinstance(refused, Refusal)
    assert refused.reason == "streams_per_token"
    one.release()
    assert other.count_token("x", 1) is None
    other.release()
    for admission in processes:
        assert admission.host is not None
        assert (admission.host.streams, admission._of_token, admission.host._own) == (0, {}, {})
        admission.host.close()


def test_what_a_killed_process_held_is_free_for_its_successor(tmp_path: Path) -> None:
    first, other = counts(tmp_path, 0), counts(tmp_path, 1)
    for _ in range(3):
        assert first.enter("a", 8, 8) is None
    other.enter("a", 8, 8)
    del first  # Killed: it closes nothing.
    successor = counts(tmp_path, 0)
    assert successor.streams == 1
    successor.close()
    other.close()


def test_columns_are_used_again(tmp_path: Path) -> None:
    one = counts(tmp_path, 0, max_streams=1)
    for n in range(10):
        assert [one.enter(f"{n}-{m}", 2, 1) for m in range(2)] == [None, None]
        assert one.enter(f"{n}-0", 3, 1) == "streams_per_address"
        for m in range(2):
            one.leave(f"{n}-{m}")
    assert one.streams == 0
    one.close()
    one.close()


def test_a_stream_leaves_the_column_that_it_entered(tmp_path: Path) -> None:
    one, other = counts(tmp_path, 0, max_streams=1), counts(tmp_path, 1, max_streams=1)
    assert [each.enter(address, 4, 2) for each, address in ((other, "a"), (one, "b"), (one, "c"))] == [None] * 3
    assert one.enter("d", 4, 2) == "streams_per_address"  # "b" and "c" share the last column.
    other.leave("a")
    one.leave("c")
    one.leave("b")
    assert one.streams == 0
    assert [one.enter(address, 4, 1) for address in ("a", "b")] == [None] * 2
    one.close()
    other.close()


@pytest.mark.parametrize("first", ["b", "c"])
def test_an_address_keeps_its_column_while_it_has_streams(tmp_path: Path, first: str) -> None:
    one, other = counts(tmp_path, 0, max_streams=1), counts(tmp_path, 1, max_streams=1)
    assert [each.enter(address, 9, 3) for each, address in ((other, "a"), (one, "b"), (one, "c"))] == [None] * 3
    other.leave("a")
    assert one.enter(first, 9, 3) is None
    assert one.enter(first, 9, 3) == "streams_per_address"
    for address in (first, "b", "c"):
        one.leave(address)
    assert one.streams == 0
    assert [one.enter(address, 9, 1) for address in ("d", "e")] == [None] * 2
    one.close()
    other.close()


def _enter_many(path: str, number: int, n_tries: int) -> None:
    found = HostCounts(Path(path), number, 4, 1000)
    n_in = sum(found.enter("a", 1000, 100) is None for _ in range(n_tries))
    os._exit(n_in)


def test_no_more_than_the_limit_get_in_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    racing = [context.Process(target=_enter_many, args=(str(tmp_path / "streams"), n, 60)) for n in range(4)]
    for each in racing:
        each.start()
    for each in racing:
        each.join()
    assert sum(each.exitcode or 0 for each in racing) == 100


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        counts(tmp_path / "nowhere", 0)
