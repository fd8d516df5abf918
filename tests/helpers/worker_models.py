"""Models for worker processes: the first sample of the audio says what they do, so that one job can do one thing."""

from __future__ import annotations

import datetime
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxgate import Batch, InferenceError, Model

COUNT, CRASH, CRASH_ONCE, HANG, REFUSE, FAIL, PRINT, PID, CHILD, NUMPY, UNSPEAKABLE, LOG, LONG, EXIT, CHANGE = range(15)
SPEECHLESS = 15


class Speechless(InferenceError):
    def __str__(self) -> str:
        raise ZeroDivisionError("no words")


class Puppet(Model):
    """Answers how many samples there were and what they add up to, unless it is told to do something else."""

    name = "puppet"
    sample_rate = 8_000

    def __init__(self, directory: str = "", **options: Any) -> None:
        self.directory = Path(directory)
        self.options = options

    def warm_up(self) -> None:
        if self.directory.name:
            (self.directory / f"warm-{os.getpid()}").touch()
            if (self.directory / "broken").exists():
                raise OSError("the weights are gone")

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        what = round(float(audio[0])) if len(audio) else COUNT
        if what == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == CRASH_ONCE:
            try:
                (self.directory / "crashed").touch(exist_ok=False)
            except FileExistsError:
                return {"survived": os.getpid()}
            os.kill(os.getpid(), signal.SIGKILL)
        if what == HANG:
            threading.Event().wait()
        if what == REFUSE:
            raise InferenceError("not in this language: ü")
        if what == SPEECHLESS:
            raise Speechless
        if what == FAIL:
            raise ValueError("a secret of the model")
        if what == EXIT:
            sys.exit(3)
        if what == PRINT:
            print("printed by the model")
            os.write(1, b"written by the model\n")
        if what == PID:
            pids = {"pid": os.getpid(), "parent": os.getppid()}
            return {**pids, "options": str(self.options), "omp": os.environ["OMP_NUM_THREADS"]}
        if what == CHILD:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            return {"child": child.pid}
        if what == NUMPY:
            return {
                "scalar": np.float32(0.5),
                "array": np.arange(3),
                "nested": [{"x": (1, None, True)}],
                "nan": float("nan"),
                "bytes": b"ab",
            }
        if what == UNSPEAKABLE:
            return {"lock": threading.Lock()}
        if what == LOG:
            logging.getLogger("my.model").warning("lo and behold %d", 7)
            logging.getLogger("my.model").debug("not this")
        if what == LONG:
            return {"text": "x" * 3_000_000}
        if what == CHANGE:
            audio[:] = -1
        return {"count": len(audio), "sum": float(audio.sum())}

    def close(self) -> None:
        if self.directory.name:
            (self.directory / f"closed-{os.getpid()}").touch()


class Together(Puppet):
    """The same in batches; a batch does what its rows say, or leaves its audio changed and fails."""

    name = "together"

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        if CHANGE in [round(float(row[0])) for row in batch if len(row)]:
            batch.audio[:] = -1
            raise RuntimeError("not together")
        return [{**self.infer(row), "of": len(batch)} for row in batch]


class Chatty(Puppet):
    """Talks for ever where others hang, and when it is closed."""

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        if audio[0] == HANG:
            self.close()
        return super().infer(audio)

    def close(self) -> None:
        while True:
            logging.getLogger("my.model").warning("still here: %s", "x" * 10_000)


class Holder(Puppet):
    name = "holder"
    holds_gil = True


def make_holder(**options: Any) -> Model:
    return Holder()


def count(audio: np.ndarray) -> Mapping[str, Any]:
    return {"count": len(audio)}


class Steps(Model):
    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {}

    def step(self, audio: np.ndarray, state: Any) -> Mapping[str, Any] | None:
        return {}


class Waiting(Model):
    async def infer(self, audio: np.ndarray) -> Any:
        return {"count": len(audio)}

    async def infer_batch(self, batch: Batch) -> Any:
        return [{"count": int(n)} for n in batch.lengths]


class Adder(Puppet):
    """Keeps state: answers what the samples of its stream add up to, and where. Otherwise as its first sample says."""

    name = "adder"
    holds_gil = True

    def open(self) -> Any:
        return Total(self.directory)

    def step(self, audio: np.ndarray, state: Any) -> Any:
        what = round(float(audio[0])) if len(audio) else COUNT
        if what in (CRASH, HANG, REFUSE, FAIL):
            self.infer(audio)
        state.n_samples += len(audio)
        return None if what == SPEECHLESS else {"total": state.n_samples, "pid": os.getpid()}

    def finish(self, state: Any) -> Any:
        return {"total": state.n_samples, "finished": True}


class Total:
    """Leaves a file behind when it is freed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.n_samples = 0

    def __del__(self) -> None:
        if self.directory.name:
            (self.directory / f"dropped-{os.getpid()}-{self.n_samples}").touch()


class Words(Puppet):
    """Yields as many interim results as there are samples; FAIL: raises after two; HANG: yields until it is closed."""

    name = "words"

    def infer(self, audio: np.ndarray) -> Any:
        what = round(float(audio[0])) if len(audio) else COUNT
        n = 0
        try:
            while n < len(audio) or what == HANG:
                if what == FAIL and n == 2:
                    raise ValueError("a secret of the model")
                yield {"n": n}
                n += 1
        finally:
            if self.directory.name:
                (self.directory / f"closed-after-{n >= len(audio)}").touch()


class Fatal(Model):
    """Dies while it is made, or while it warms up."""

    def __init__(self, where: str) -> None:
        self.where = where
        if where == "load":
            os.kill(os.getpid(), signal.SIGSEGV)
        if where == "load-hang":
            threading.Event().wait()

    def warm_up(self) -> None:
        if self.where == "warm_up":
            os._exit(9)
        if self.where == "error":
            raise OSError("no weights")

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {}


class Stubborn(Model):
    """Holds the GIL for ever, as only C code can: nothing in the process but a signal of the kernel ends it."""

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        if len(audio) and audio[0] == HANG:
            import ctypes

            ctypes.PyDLL(None).pause()
        return {"pid": os.getpid()}


class Spin(Model):
    """Pure Python: computes for `seconds`, holding the GIL but for the moments in which Python itself gives it away."""

    holds_gil = True

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        end_s = time.thread_time() + self.seconds
        n = 0
        while time.thread_time() < end_s:
            n += sum(range(20_000))
        return {"count": len(audio)}


TODAY = datetime.date(2020, 2, 2)
