from __future__ import annotations

import logging

import pytest

from voxgate.inference.engine.failures import FailureLog

logger = logging.getLogger("voxgate.test")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def raised_elsewhere(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> FailureLog:
    return FailureLog(logger, interval_s=60.0, max_kinds=3, clock=clock)


def test_the_first_of_a_kind_is_logged_with_its_stack(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    error = raised(ValueError("x"))
    log.write("it failed", error)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "it failed")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_repetitions_are_held_back_and_counted(log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(100):
        log.write("it failed", raised(ValueError(f"number {i}")))
        clock.now_s += 0.5
    assert len(caplog.records) == 1
    clock.now_s = 1000.0 + 60.0
    log.write("it failed", raised(ValueError()))
    assert caplog.records[1].getMessage() == "it failed (99 more like it since the last such line)"
    clock.now_s += 60.0
    log.write("it failed", raised(ValueError()))
    assert caplog.records[2].getMessage() == "it failed"


def test_another_type_or_another_place_is_another_kind(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    log.write("a", raised(ValueError()))
    log.write("b", raised(KeyError()))
    log.write("c", raised_elsewhere(ValueError()))
    log.write("d", raised(ValueError()))
    assert [record.getMessage() for record in caplog.records] == ["a", "b", "c"]


def test_without_an_exception_the_words_are_the_kind(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    for what in ("a", "b", "a"):
        log.write(what)
    assert [record.getMessage() for record in caplog.records] == ["a", "b"]
    assert caplog.records[0].exc_info is None


def test_an_exception_that_was_never_raised_has_a_kind_too(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    log.write("a", ValueError())
    log.write("b", ValueError())
    assert len(caplog.records) == 1


def test_memory_is_bounded_and_the_oldest_is_forgotten(log: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    for what in "abcdefgh":
        log.write(what)
    log.write("h")
    log.write("a")
    assert "".join(record.getMessage() for record in caplog.records) == "abcdefgha"


def test_a_kind_that_is_logged_again_is_the_youngest(
    log: FailureLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for what in "abc":
        log.write(what)
    clock.now_s += 60.0
    for what in "ada":
        log.write(what)
    assert "".join(record.getMessage() for record in caplog.records) == "abcad"
