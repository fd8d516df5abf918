from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from voxgate.inference.engine.base import BatchLimits
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.warm_up import WarmUp
from voxgate.models.base import Model

WAIT_S = 30  # How long a test waits before it gives up; nothing here takes that long.


class Answering(Model):
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def warm_up(self) -> None:
        self.calls.append("warm_up")

    def infer(self, audio: np.ndarray) -> Any:
        self.calls.append("infer")
        return self.answer


def warm_up_of(model: Model) -> WarmUp:
    return WarmUp(model, FailureLog(logging.getLogger("test")), BatchLimits(1), False)


@pytest.mark.parametrize(("answer", "gives_text"), [({"transcript": "yes"}, True), ({"count": 1}, False)])
def test_the_trial_call_shows_whether_there_is_text(answer: Any, gives_text: bool) -> None:
    model = Answering(answer)
    warm_up = warm_up_of(model)
    assert warm_up.gives_text is None
    assert warm_up.run(model) >= 0
    assert model.calls == ["warm_up", "infer"]
    assert warm_up.gives_text is gives_text


def test_no_trial_call_begins_after_stop() -> None:
    model = Answering({"count": 1})
    warm_up = warm_up_of(model)
    warm_up.stop()
    warm_up.run(model)
    assert model.calls == ["warm_up"]
    assert warm_up.gives_text is None


def test_wait_waits_for_one_that_runs_and_for_no_other() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(Answering):
        def warm_up(self) -> None:
            entered.set()
            assert leave.wait(WAIT_S)

    model = Slow({"count": 1})
    warm_up = warm_up_of(model)
    assert warm_up.wait(0.0)
    thread = threading.Thread(target=warm_up.run, args=(model,))
    thread.start()
    assert entered.wait(WAIT_S)
    assert not warm_up.wait(0.0)
    leave.set()
    assert warm_up.wait(None)
    thread.join(WAIT_S)
    assert warm_up.wait(0.0)
