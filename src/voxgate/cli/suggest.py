"""The settings that suit a model whose behaviour was measured."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.cli.behaviour import Behaviour
from voxgate.models import Model
from voxgate.runtime.cpus import usable_cpus

__all__ = ["Suggestion", "suggest"]


@dataclass(frozen=True)
class Suggestion:
    """A line for the configuration."""

    key: str
    value: str | int
    reason: str


def suggest(model: Model, behaviour: Behaviour, n_cpus: int | None = None) -> list[Suggestion]:
    """Settings that suit the measured behaviour. `n_cpus`: by default those that this process may use."""
    cpus = usable_cpus() if n_cpus is None else n_cpus
    return [*_isolation(model, behaviour, cpus), *_batch_size(behaviour)]


def _isolation(model: Model, behaviour: Behaviour, cpus: int) -> list[Suggestion]:
    gil = behaviour.gil
    if model.asynchronous:
        return [Suggestion("inference.engine", "async", "the model is async def, so this is the default")]
    if gil.verdict == "holds" or model.holds_gil:
        reason = "the model holds the GIL: on threads, each call would stop the server"
        if model.holds_gil:
            reason = "the model declares that it holds the GIL, so this is the default"
        return [
            Suggestion("inference.engine", "process", reason),
            Suggestion("inference.processes", 0, f"one per CPU, here {cpus}"),
        ]
    if gil.verdict == "shares":
        reason = f"the model leaves {gil.share:.0%} of the GIL to other threads: try 'process' for many streams"
    elif gil.verdict == "unknown":
        reason = "this machine is too busy to tell whether the model releases the GIL"
    else:
        reason = "the model releases the GIL while it computes"
    return [Suggestion("inference.engine", "threads", reason), _threads(model, behaviour, cpus)]


def _threads(model: Model, behaviour: Behaviour, cpus: int) -> Suggestion:
    key, gain = "inference.threads", behaviour.two_at_once
    if gain is None:
        return Suggestion(key, 0, "the model allows one call at a time")
    default = f"the model's own number, {model.threads}" if model.threads else f"one per CPU, here {cpus}"
    if gain >= 1.2:
        return Suggestion(key, 0, f"{default}: two concurrent calls are {gain:.2f}x as fast")
    if cpus > 1 and (behaviour.two_at_best or 0.0) < 1.5:
        return Suggestion(key, 0, f"{default}; this machine is too busy to measure whether concurrent calls are faster")
    reason = "there is one CPU" if cpus == 1 else "two concurrent calls are no faster than two calls in turn"
    return Suggestion(key, 1, f"{reason} ({gain:.2f}x)")


def _batch_size(behaviour: Behaviour) -> list[Suggestion]:
    if not behaviour.batches:
        return []
    key = "inference.max_batch_size"
    best, largest = max(behaviour.batches, key=lambda one: one.gain), behaviour.batches[-1]
    if best.gain < 1.1:
        return [Suggestion(key, 1, f"a batch is no faster than single calls ({best.gain:.2f}x)")]
    reason = f"a batch of {best.size} is {best.gain:.2f}x as fast as single calls"
    if best is largest:
        return [Suggestion(key, 2 * best.size, f"{reason}; larger ones may be faster still")]
    return [Suggestion(key, best.size, f"{reason}, one of {largest.size} only {largest.gain:.2f}x")]
