"""The trial call: the first one, which Voxgate makes itself before a server is ready."""

from __future__ import annotations

import logging

import numpy as np

from voxgate.errors import InternalError, VoxgateError
from voxgate.inference.engine.base import Outcome
from voxgate.models.base import Samples
from voxgate.protocol.json_codec import check_output

__all__ = ["faint_noise", "report_trial"]

logger = logging.getLogger("voxgate.inference.engine")


def faint_noise(sample_rate: int) -> Samples:
    """One second at -60 dBFS, the same every time; noise, because digital silence takes short cuts in some models."""
    noise: Samples = (1e-3 * np.random.default_rng(0).standard_normal(sample_rate)).astype(np.float32)
    return noise


def report_trial(name: str, outcome: Outcome) -> None:
    """Logs a trial call of the model `name` that failed, or whose result no client could be sent. The server starts all
    the same: noise need not be something that a model can answer.
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
