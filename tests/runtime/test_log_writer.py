"""Lines leave in order, nobody waits for who reads them, and what is lost is told."""

from __future__ import annotations

import contextlib
import io
import os
import threading

from voxgate.runtime.log_writer import LogWriter


def lost(n_lines: int) -> str:
    return f"{n_lines} lost\n"


class Gate(io.StringIO):
    """A stream that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.opened = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        assert self.opened.wait(30)
        return super().write(text)


def test_lines_of_many_threads_leave_whole_and_each_threads_in_order():
    out = io.StringIO()
    outlet = LogWriter(out, lost)
    threads = [
        threading.Thread(target=lambda name=name: [outlet.write(f"{name} {number}\n") for number in range(200)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outlet.drain(30)
    lines = out.getvalue().splitlines()
    assert len(lines) == 800
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(200)]


def test_a_stream_that_takes_nothing_holds_nobody_and_costs_no_more_than_its_bound():
    gate = Gate()
    outlet = LogWriter(gate, lost, max_characters=40)
    outlet.write("first\n")
    assert gate.asked.wait(30)
    for number in range(100):  # each is 4 characters: ten of them wait
        outlet.write(f"{number:03}\n")
    assert not outlet.drain(0)
    gate.opened.set()
    assert outlet.drain(30)
    outlet.write("again\n")
    assert outlet.drain(30)
    assert gate.getvalue() == "first\n" + "".join(f"{number:03}\n" for number in range(10)) + "90 lost\nagain\n"


def test_a_single_line_that_is_longer_than_the_bound_is_written():
    out = io.StringIO()
    outlet = LogWriter(out, lost, max_characters=4)
    outlet.write("a long line\n")
    assert outlet.drain(30)
    assert out.getvalue() == "a long line\n"


def test_a_stream_that_is_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    outlet = LogWriter(stream, lost)
    for _ in range(3):
        outlet.write("x" * 100_000 + "\n")
        outlet.drain(30)
    outlet.write("y\n")
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_where_no_thread_can_be_started_lines_are_written_all_the_same(monkeypatch):
    out = io.StringIO()
    outlet = LogWriter(out, lost)

    def no_room(*arguments: object, **options: object) -> None:
        outlet.write("no thread\n")  # as the log does
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("voxgate.runtime.log_writer.spawn_thread", no_room)
        outlet.write("first\n")
        outlet.write("second\n")
        assert out.getvalue() == "first\nno thread\nsecond\nno thread\n"
        assert outlet.drain(0)
    outlet.write("third\n")
    assert outlet.drain(30)
    assert out.getvalue().endswith("third\n")
