"""The trial calls: Voxgate calls the model itself before the server is ready."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from voxgate.errors import InvalidStart, ModelLoadError, VoxgateError
from voxgate.inference.engine.base import BatchLimits, JobOutcome
from voxgate.models.base import Batch, Samples
from voxgate.models.request import Request
from voxgate.models.session_options import SessionOptions
from voxgate.protocol.output import Output

__all__ = ["faint_noise", "judge_trial", "text_in", "trial_batch", "trial_request", "trial_sizes"]

logger = logging.getLogger("voxgate.inference.engine")


def faint_noise(sample_rate: int) -> Samples:
    """One second at -60 dBFS, the same every time; noise, because some models skip digital silence. float32, shape
    (sample_rate,).
    """
    noise: Samples = (1e-3 * np.random.default_rng(0).standard_normal(sample_rate)).astype(np.float32)
    return noise


def trial_request(options: SessionOptions, sample_rate: int) -> Request | None:
    """The request of a trial call, with the model's default options; None, and no trial call can be made, for a model
    with required options.
    """
    try:
        return Request(options=options.parse(None), end_s=1.0, session_id="trial", sample_rate=sample_rate)
    except InvalidStart as error:
        logger.info("no trial call of the model: %s", error)
        return None


def trial_batch(n_items: int, sample_rate: int, request: Request) -> Batch:
    """A batch of `n_items` equal seconds of faint noise."""
    return Batch.gather([faint_noise(sample_rate)] * n_items, [request] * n_items)


def trial_sizes(limits: BatchLimits) -> tuple[int, ...]:
    """The sizes of the trial batches: one item, and two where the model takes batches."""
    return (1, 2) if limits.max_items > 1 else (1,)


def judge_trial(name: str, outcomes: Sequence[JobOutcome], bad_results: Sequence[str], start_anyway: bool) -> None:
    """Raises ModelLoadError when trial calls of the model `name` gave results that cannot be sent, because every call
    would; with `start_anyway`, logs them.

    A call that raised is only logged: a model need not have an answer to noise, and what its call needs (another
    server) may come later.
    """
    if bad_results:
        text = f"model {name!r}: the trial call with a second of noise gave a bad result: {bad_results[0]}"
        if not start_anyway:
            raise ModelLoadError(f"{text}; correct the model, or start the server with inference.start_anyway")
        logger.warning("%s; starting all the same (inference.start_anyway)", text)
        return
    for outcome in outcomes:
        if isinstance(outcome, VoxgateError):
            logger.warning(
                "the trial call of model %r with a second of noise failed (%s): starting all the same",
                name,
                outcome.code,
            )


def text_in(outcomes: Sequence[JobOutcome]) -> bool | None:
    """Whether the results of trial calls carry text; None: they are all empty."""
    results = [outcome for outcome in outcomes if isinstance(outcome, Output) and outcome.json]
    return any(result.transcript is not None for result in results) if results else None
