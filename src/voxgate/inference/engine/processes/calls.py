"""The calls of one worker process, as the server makes them: one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from voxgate.inference.engine.base import Job, JobSource, Pin
from voxgate.inference.engine.processes.messages import Answer, Drop, Partial, Run, StateCall, Stop
from voxgate.inference.engine.processes.outcomes import decode_outcome
from voxgate.inference.engine.processes.process import WorkerProcess
from voxgate.inference.engine.processes.states import RemoteStates
from voxgate.protocol.output import Output

__all__ = ["ProcessCalls"]


class ProcessCalls:
    """Makes calls with the states that the process keeps, passes interim results on, and ends calls that nobody needs.
    On the slot's thread.
    """

    def __init__(self, process: WorkerProcess, source: JobSource) -> None:
        self._process = process
        self._source = source
        self._states = RemoteStates(lambda numbers: process.try_send(Drop(list(numbers))))
        self._number = 0

    @property
    def pin(self) -> Pin:
        """Of the states in this process."""
        return self._states.pin

    def run(self, jobs: Sequence[Job], run: Run, activity: str, until_s: float) -> Answer:
        """Runs one batch. Raises what `WorkerProcess.send` and `receive` raise; TimeoutError at `until_s`."""
        process, job = self._process, jobs[0]
        self._number += 1
        is_alone = len(jobs) == 1
        run = replace(
            run,
            number=self._number,
            sends_partials=is_alone and job.on_partial is not None,
            state_call=None if job.state is None else _state_call(job, self._states.number_of(job.state)),
        )
        stop = Stop(self._number)
        if dropped := self._states.take_dropped():
            process.send(Drop(dropped), activity)
        if is_alone:
            job.on_cancel = lambda: _ignore(process.try_send(stop))
        try:
            process.send(run, activity)
            answer = process.receive_answer(until_s, lambda partial: self._pass_on(job, partial, stop))
        finally:
            job.on_cancel = None
        if job.state is not None:
            job.state.opened = answer.opened
        return answer

    def close(self) -> None:
        """The process serves no more calls: its states are lost."""
        self._states.close()
        self._source.unpin(self.pin)

    def _pass_on(self, job: Job, partial: Partial, stop: Stop) -> None:
        if not job.is_needed:
            self._process.try_send(stop)  # Perhaps again: the first one may have found no room.
            return
        output = decode_outcome(partial.outcome)
        if isinstance(output, Output):
            self._source.partial(job, output)


def _state_call(job: Job, number: int) -> StateCall:
    if job.method == "infer":
        raise AssertionError("infer takes no state")
    return StateCall(job.method, number)


def _ignore(_: bool) -> None:
    """A Stop that cannot be sent now is sent with the next interim result."""
