"""The trial calls: Voxgate calls the model itself before the server is ready."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from voxgate.errors import ConfigError, InvalidStart, ModelLoadError, VoxgateError
from voxgate.inference.engine.base import BatchLimits, JobOutcome, State
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invoker
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.request import Request
from voxgate.models.session_options import SessionOptions
from voxgate.protocol.output import Output

__all__ = [
    "batch_limits",
    "faint_noise",
    "judge_trial",
    "prepare",
    "text_in",
    "trial_batch",
    "trial_request",
    "trial_sizes",
    "try_model",
]

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


def trial_sizes(model: Model, limits: BatchLimits) -> tuple[int, ...]:
    """The arguments of `try_model` that suit a model: one item, two where it takes batches, 0 for a stateful one."""
    sizes = ((1, 2) if limits.max_items > 1 else (1,)) if model.stateless else ()
    return (*sizes, 0) if model.stateful else sizes


def try_model(model: Model, failures: FailureLog, n_items: int) -> tuple[list[JobOutcome], list[str]]:
    """A trial call with `n_items` seconds of noise as one batch; 0: a session with one second. The outcomes, and why
    results cannot be sent.
    """
    request = trial_request(SessionOptions(model), model.sample_rate)
    if request is None:
        return [], []
    bad_results: list[str] = []
    invoker = Invoker(model, failures, bad_results.append)
    if n_items:
        return invoker.invoke(trial_batch(n_items, model.sample_rate, request)).outcomes, bad_results
    state = State()
    outcomes = [invoker.call("step", faint_noise(model.sample_rate), state, request)]
    if state.opened:
        outcomes.append(invoker.call("finish", np.empty(0, np.float32), state, request))
    return outcomes, bad_results


def prepare(
    model: Model, failures: FailureLog, limits: BatchLimits, is_stopping: Callable[[], bool], start_anyway: bool
) -> bool | None:
    """Calls `model.warm_up()`, then makes a trial call with one second of noise at -60 dBFS, one with a batch of two if
    the model defines `infer_batch`, and a short session if it is stateful: so the first client does not pay for what
    only a first call costs. Returns whether the results carry text; None: unknown.

    Raises ModelLoadError when `model.warm_up()` fails, and for results that cannot be sent (see `judge_trial`).
    """
    Invoker(model, failures).warm_up()
    outcomes: list[JobOutcome] = []
    bad_results: list[str] = []
    for n_items in trial_sizes(model, limits):
        if is_stopping():
            break
        tried, bad = try_model(model, failures, n_items)
        outcomes += tried
        bad_results += bad
    judge_trial(model.name, outcomes, bad_results, start_anyway)
    return text_in(outcomes)


def batch_limits(model: Model, max_batch_size: int, max_batch_seconds: float, batch_window_s: float) -> BatchLimits:
    """The batches of a model in the server's process. Raises ConfigError for numbers out of range."""
    if max_batch_size < 1:
        raise ConfigError(f"inference.max_batch_size must be at least 1, not {max_batch_size}")
    if not max_batch_seconds > 0:
        raise ConfigError(f"inference.max_batch_seconds must be above 0, not {max_batch_seconds}")
    if not 0 <= batch_window_s < math.inf:
        raise ConfigError(f"inference.batch_window_ms must be at least 0, not {batch_window_s * 1000:g}")
    if not model.batches or max_batch_size == 1:
        return BatchLimits(1)
    return BatchLimits(max_batch_size, max_batch_seconds, batch_window_s)


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
                "the trial call of model %r with a second of noise failed (%s): %s; starting all the same",
                *(name, outcome.code, outcome),
            )


def text_in(outcomes: Sequence[JobOutcome]) -> bool | None:
    """Whether the results of trial calls carry text; None: they are all empty."""
    results = [outcome for outcome in outcomes if isinstance(outcome, Output) and outcome.json]
    return any(result.transcript is not None for result in results) if results else None
