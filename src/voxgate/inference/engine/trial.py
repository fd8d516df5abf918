"""The trial calls: Voxgate calls the model itself before the server is ready."""

from __future__ import annotations

import logging

import numpy as np

from voxgate.errors import InternalError, VoxgateError
from voxgate.inference.engine.base import BatchLimits, JobOutcome
from voxgate.models.base import Batch, Samples
from voxgate.protocol.json_codec import check_output

__all__ = ["faint_noise", "report_trial", "trial_batch", "trial_sizes"]

logger = logging.getLogger("voxgate.inference.engine")


def faint_noise(sample_rate: int) -> Samples:
    """One second at -60 dBFS, the same every time; noise, because some models skip digital silence. float32, shape
    (sample_rate,).
    """
    noise: Samples = (1e-3 * np.random.default_rng(0).standard_normal(sample_rate)).astype(np.float32)
    return noise


def trial_batch(n_items: int, sample_rate: int) -> Batch:
    """A batch of `n_items` equal seconds of faint noise."""
    return Batch.gather([faint_noise(sample_rate)] * n_items)


def trial_sizes(limits: BatchLimits) -> tuple[int, ...]:
    """The sizes of the trial batches: one item, and two where the model takes batches."""
    return (1, 2) if limits.max_items > 1 else (1,)


def report_trial(name: str, outcome: JobOutcome) -> None:
    """Logs a trial call of the model `name` that failed, or whose result cannot be sent to a client. The server starts
    all the same: a model need not have an answer to noise.
    """
    if isinstance(outcome, VoxgateError):
        reason = outcome.code
    else:
        try:
            check_output(outcome or {})
        except InternalError as error:
            reason = str(error)
        else:
            return
    logger.warning("the trial call of model %r with a second of noise failed (%s): starting all the same", name, reason)
