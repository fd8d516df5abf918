from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from voxgate.runtime.watchdog import Beat, Hold, Starvation, Watchdog

REMEDY = 'set inference.engine = "process"'

# Half a second: both hearts stood still for 0.4 s, the process computed, the loop's thread did not, and a call ran.
STALL = Beat(
    now_s=100.5, late_s=0.4, other_late_s=0.4, loop_cpu_s=10.01, process_cpu_s=20.5, n_running=1, n_done=7
)  # fmt: skip
BEFORE = Beat(100.0, 0.0, 0.0, 10.0, 20.0, 1, 7)


def judge(*beats: Beat) -> list[str]:
    starvation = Starvation("asr")
    return [complaint for beat in beats if (complaint := starvation.beat(beat)) is not None]


def test_a_model_that_holds_the_gil_is_named_with_what_to_do() -> None:
    (complaint,) = judge(BEFORE, STALL)
    assert "model 'asr' held the GIL for 0.4 s" in complaint
    assert REMEDY in complaint


@pytest.mark.parametrize(
    "innocent",
    [
        replace(STALL, other_late_s=0.0),  # The loop's own thread blocked without the GIL: a blocking call.
        replace(STALL, late_s=0.0),
        replace(STALL, loop_cpu_s=10.4),  # The loop computed itself.
        replace(STALL, process_cpu_s=20.1),  # The machine stood still, or had others to serve.
        replace(STALL, late_s=0.2),  # Too short for a line of its own.
    ],
)
def test_nobody_else_is_blamed_on_the_model(innocent: Beat) -> None:
    assert judge(BEFORE, innocent) == []


def test_no_call_no_blame_but_a_call_that_came_and_went_in_between_is_one() -> None:
    idle, stall = replace(BEFORE, n_running=0), replace(STALL, n_running=0)
    assert judge(idle, stall) == []
    assert len(judge(idle, replace(stall, n_done=8))) == 1
    assert len(judge(BEFORE, stall)) == 1
    assert len(judge(idle, STALL)) == 1


def steady(late_s: float, n_beats: int = 200) -> list[Beat]:
    """Beats of a loop that is a little late every time."""
    step_s = 0.05 + late_s
    return [Beat(n * step_s, late_s, late_s, 0.0, n * step_s, 1, 0) for n in range(n_beats)]


def test_many_short_waits_add_up() -> None:
    (complaint,) = judge(*steady(0.01))
    assert "held the GIL so that the server waited for it 17 % of 5 s" in complaint
    assert REMEDY in complaint
    assert judge(*steady(0.004)) == []


def test_windows_are_judged_one_by_one() -> None:
    bad = steady(0.01, 60)  # 3.6 s of it, and then enough quiet to fill the window.
    from_s = bad[-1].now_s
    quiet = [Beat(from_s + n * 0.05, 0.0, 0.0, 0.0, from_s + n * 0.05, 1, 0) for n in range(1, 400)]
    assert len(judge(*bad, *quiet)) == 1
    assert judge(*bad[:20], *quiet) == []


def test_it_says_so_once_a_minute() -> None:
    later = [
        replace(STALL, now_s=100.5 + n, process_cpu_s=20.5 + n, late_s=0.9, other_late_s=0.9) for n in range(0, 150)
    ]
    assert len(judge(BEFORE, *later)) == 3


def seconds_of_gil(seconds: float) -> Callable[[], int]:
    """One call of C code that keeps the GIL for about that long."""
    n = 1 << 20
    while True:
        before_s = time.perf_counter()
        sum(range(n))
        if time.perf_counter() - before_s >= seconds:
            return lambda: sum(range(n))
        n *= 2


def test_a_thread_that_keeps_the_gil_is_noticed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hog = seconds_of_gil(0.5)
    # As on a machine that has nobody else to serve: otherwise it might get the blame.
    monkeypatch.setattr(time, "process_time", time.perf_counter)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        complained = asyncio.Event()

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "held the GIL" in record.getMessage():  # a busy machine may be complained about before
                    complained.set()

        handler = Handler()
        logging.getLogger("voxgate.runtime.watchdog").addHandler(handler)
        watchdog = Watchdog("asr", lambda: (1, 0))
        watchdog.start()
        try:
            while not complained.is_set():
                await loop.run_in_executor(None, hog)
        finally:
            watchdog.stop()
            watchdog.stop()
            logging.getLogger("voxgate.runtime.watchdog").removeHandler(handler)

    asyncio.run(asyncio.wait_for(main(), 60))
    assert "model 'asr' held the GIL" in caplog.text


def test_its_thread_ends_with_it() -> None:
    async def main() -> None:
        others = threading.enumerate()  # servers of other tests may have theirs
        watchdog = Watchdog("asr", lambda: (0, 0))
        watchdog.start()
        (thread,) = [new for new in threading.enumerate() if new not in others and new.name == "voxgate-watchdog"]
        watchdog.stop()
        await asyncio.get_running_loop().run_in_executor(None, thread.join, 30)
        assert not thread.is_alive()

    asyncio.run(main())


def test_stopping_what_was_never_started() -> None:
    Watchdog("asr", lambda: (0, 0)).stop()


def test_a_hold_is_told_once_with_its_stack_and_once_when_it_is_over() -> None:
    hold = Hold()
    assert hold.seen(100.2, 0.2, 0.0, 0.0) is None
    told = hold.seen(100.25, 0.25, 0.0, 0.0)
    assert told is not None
    assert "held for 0.25 s" in told
    assert hold.seen(100.3, 0.3, 0.0, 0.0) is None
    assert hold.over(101.0, 1.0, 0.0, False) == "the event loop continues after 1.00 s"
    assert hold.over(101.05, 0.0, 0.0, False) is None


def test_further_holds_of_a_minute_are_a_number() -> None:
    hold = Hold()
    assert hold.over(100.0, 0.5, 0.5, False) is not None
    for n in range(3):
        assert hold.seen(110.0 + n, 0.4, 0.0, 0.0) is None
        assert hold.over(110.0 + n, 0.5, 0.5, False) is None
    told = hold.seen(161.0, 0.4, 0.0, 0.0)
    assert told is not None
    assert "(3 more like it since" in told
    hold.over(161.5, 0.5, 0.0, False)
    told = hold.seen(300.0, 0.4, 0.0, 0.0)
    assert told is not None
    assert "more" not in told


def test_a_stack_is_shown_only_when_it_can_be_that_of_the_culprit() -> None:
    # The thread beside was kept waiting too: by the model, or by the machine ...
    assert Hold().seen(100.0, 0.4, 0.35, 0.0) is None
    # ... or by native code that the loop's own thread was in, with Python's lock: it has just come back from there.
    assert Hold().seen(100.0, 0.4, 0.35, 0.39) is not None


def test_what_was_not_seen_is_told_when_it_is_over_unless_it_was_the_model() -> None:
    told = Hold().over(100.0, 0.4, 0.1, False)
    assert told is not None
    assert "0.40 s, of which its own thread computed 0.10 s" in told
    assert Hold().over(100.0, 0.4, 0.0, True) is None
    assert Hold().over(100.0, 0.2, 0.0, False) is None


def test_the_stack_that_holds_the_loop_is_logged_while_it_does(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "a_blocking_callback" in record.getMessage():
                go.set()

    def a_blocking_callback(secret: str) -> None:
        assert go.wait(30), secret

    async def main() -> None:
        watchdog = Watchdog(None, lambda: (0, 0))
        watchdog.start()
        try:
            a_blocking_callback("what-nobody" + "-may-read")
            while not watchdog.n_held:
                await asyncio.sleep(0)
            assert watchdog.lag_s.total >= 0.25
            assert watchdog.busy_s > 0
        finally:
            watchdog.stop()

    seen = Seen()
    logging.getLogger("voxgate.runtime.watchdog").addHandler(seen)
    try:
        asyncio.run(main())
    finally:
        logging.getLogger("voxgate.runtime.watchdog").removeHandler(seen)
    # The loops of other tests' servers may be held too.
    (stack,) = (record.getMessage() for record in caplog.records if "a_blocking_callback" in record.getMessage())
    (end,) = (record.getMessage() for record in caplog.records if record.threadName == "MainThread")
    assert "test_watchdog.py" in stack
    assert "what-nobody-may-read" not in stack
    assert end.startswith("the event loop continues after")
