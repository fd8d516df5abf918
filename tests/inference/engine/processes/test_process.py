"""One worker process: its isolation, its end, and the resources that it frees."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import worker_models as does
from helpers.job_source import DIED, WAIT_S, Source
from helpers.processes import children, gone
from voxgate.errors import ModelLoadError
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.processes import guarded as guarded_module
from voxgate.inference.engine.processes import process as process_module
from voxgate.runtime.tasks import spawn_thread

Started = Callable[..., tuple[ProcessEngine, Source]]


def test_what_the_model_prints_stays_out_of_our_output(start: Started, capfd: pytest.CaptureFixture[str]) -> None:
    engine, source = start()
    source.one(does.PRINT)
    source.close()
    assert engine.stop(WAIT_S)
    out, err = capfd.readouterr()
    assert out == ""
    assert "written by the model" in err
    assert "printed by the model" in err


def test_what_the_model_started_dies_with_its_worker(start: Started) -> None:
    _, source = start()
    child = source.one(does.CHILD)["child"]
    assert str(source.one(does.CRASH)) == DIED
    assert gone(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_the_server_do_not_end_a_worker(start: Started, number: signal.Signals) -> None:
    engine, source = start()
    before = engine.pids[0]
    os.kill(before, number)
    assert source.one(does.PID)["pid"] == before


def test_a_worker_is_out_of_reach_of_the_terminal(start: Started) -> None:
    engine, _ = start()
    assert os.getpgid(engine.pids[0]) != os.getpgid(0)
    assert os.getsid(engine.pids[0]) != os.getsid(0)


def test_workers_end_with_a_server_that_is_killed_even_in_a_call_that_holds_the_gil() -> None:
    script = (
        "import sys, numpy as np; sys.path[:] = sys.argv[1:]\n"
        "from helpers.job_source import Source, does, job\n"
        "from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings\n"
        "settings = ProcessSettings('helpers.worker_models:Stubborn', processes=2)\n"
        "engine, source = ProcessEngine(settings), Source()\n"
        "engine.load(); engine.start(source); engine.warm_up()\n"
        "source.put(job(does.HANG)); source.wait_taken(1)\n"
        "print(*engine.pids, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        server.kill()
    assert all(gone(pid) for pid in pids)


def test_nothing_is_left_behind_by_restarts(start: Started) -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    _, source = start()
    source.one(does.CRASH)
    source.one(does.COUNT)
    before, mapped = open_files(), Path("/proc/self/maps").read_text().count("voxgate-audio")
    for _ in range(5):
        source.one(does.CRASH, final=False)
    source.one(does.COUNT)
    assert open_files() == before
    assert Path("/proc/self/maps").read_text().count("voxgate-audio") == mapped == 1


@pytest.mark.parametrize("refused", ["file", "thread"])
def test_no_room_for_another_worker_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def no_file(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def no_thread(target: Callable[[], object], name: str, **options: Any) -> Any:
        if "watch" in name:
            raise RuntimeError("can't start new thread")
        return spawn_thread(target, name, **options)

    if refused == "file":
        monkeypatch.setattr(os, "pidfd_open", no_file)
    else:
        monkeypatch.setattr(guarded_module, "spawn_thread", no_thread)
    gc.collect()
    before, others = os.listdir("/proc/self/fd"), children()
    engine = ProcessEngine(ProcessSettings("helpers.worker_models:Puppet"))
    with pytest.raises(ModelLoadError, match=r"a worker process cannot be started: .*(Too many open files|new thread)"):
        engine.load()
    gc.collect()
    assert os.listdir("/proc/self/fd") == before
    assert children() <= others


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_does_nothing_but_log_is_out_of_time_like_any_other(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "QUIT_TIMEOUT_S", 0.3)
    engine, source = start("Chatty")
    assert str(source.one(does.HANG, within_s=0.3)) == "The model gave no answer within 0.3 s"
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    source.close()
    assert engine.stop(WAIT_S)  # Its close never returns either.
