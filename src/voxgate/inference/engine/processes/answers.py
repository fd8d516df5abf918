"""A call of the model where it lives, in a process of another than the server: its answer as a message."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from voxgate.errors import InvalidStart
from voxgate.inference.engine.base import CallMethod, State
from voxgate.inference.engine.interims import NO_INTERIMS, Interims
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.messages import Answer, Loaded
from voxgate.inference.engine.processes.outcomes import RefusedCall, encode_outcome
from voxgate.models.adapter import declares_text
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.request import Request
from voxgate.models.session_options import SessionOptions

__all__ = ["answer_batch", "answer_step", "describe"]


def describe(model: Model, options: SessionOptions) -> Loaded:
    """What the server needs to know about a model that was loaded."""
    return Loaded(
        model.name,
        model.sample_rate,
        model.threads,
        bool(model.holds_gil),
        model.batches,
        model.stateful,
        model.stateless,
        options.schema,
        bool(model.mixes_options),
        declares_text(model),
    )


def answer_step(
    invoker: Invoker, method: CallMethod, audio: Samples, state: State, request: Request, options: SessionOptions
) -> Answer:
    """Calls `step` or `finish` with `state`."""
    try:
        request = replace(request, options=options.parse(request.options))
    except InvalidStart as error:  # As in `answer_batch`.
        return Answer([RefusedCall(str(error))], False, opened=state.opened)
    outcome = invoker.call(method, audio, state, request)
    return Answer([encode_outcome(outcome)], False, opened=state.opened)


def answer_batch(
    invoker: Invoker,
    batch: Batch,
    requests: Sequence[Request],
    options: SessionOptions,
    interims: Interims = NO_INTERIMS,
) -> Answer:
    """Runs a batch. The model gets a copy of a batch of several: it may change that, and a second try needs the
    original.
    """
    try:
        batch.requests = [replace(request, options=options.parse(request.options)) for request in requests]
    except InvalidStart as error:  # The class itself refuses what its schema, which the server checked, allows.
        if len(batch) == 1:
            return Answer([RefusedCall(str(error))], False)
        alone = [
            answer_batch(
                invoker, Batch(batch.audio[i : i + 1, : batch.lengths[i]], batch.lengths[i : i + 1]), [one], options
            )
            for i, one in enumerate(requests)
        ]
        return Answer([answer.outcomes[0] for answer in alone], True)
    if len(batch) == 1:
        invocation = invoker.invoke(batch, None, interims)
    else:
        copy = Batch(batch.audio.copy(), batch.lengths.copy(), batch.requests)
        invocation = invoker.invoke(copy, batch.__getitem__)
    return Answer([encode_outcome(outcome) for outcome in invocation.outcomes], invocation.retried)
