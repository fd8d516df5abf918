"""What things cost: `costs.json`, which `python -m bench.scale.measure` writes, and what is assumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cell import EdgeCost, ModelCost
from .talk import Talk, script

FILE = Path(__file__).parent / "costs.json"

GPU_MODEL = ModelCost(fixed_s=0.040, item_s=0.004, second_s=0.003)
"""An assumption: a recogniser on a GPU. Put your own in its place."""


@dataclass(frozen=True)
class Prices:
    """Assumptions, in dollars an hour: on demand, without discounts."""

    cpu_hour: float = 0.045
    gpu_hour: float = 0.80
    edge_cpus: float = 2.0
    """Of an edge: one for its loop, one for everything else (Ray's node and driver)."""


def load(file: Path = FILE) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def edge_cost(costs: Mapping[str, Any]) -> EdgeCost:
    return EdgeCost(**costs["edge"]["fit"])


def model_cost(costs: Mapping[str, Any]) -> ModelCost:
    return ModelCost(**costs["model"]["fit"])


def recording(costs: Mapping[str, Any], name: str) -> Talk:
    spurts = costs["speech"][name]
    return script(spurts["on_s"], spurts["off_s"])


def fit_queue(busy: Sequence[float], latency_s: Sequence[float]) -> tuple[float, float]:
    """`base + slope * busy / (1 - busy)`, which deviates least from the latencies, relative to each."""
    load = np.array(busy) / (1 - np.array(busy))
    weight = 1 / np.array(latency_s)
    columns = np.stack([weight, weight * load], axis=1)
    base, slope = np.linalg.lstsq(columns, np.ones(len(load)), rcond=None)[0]
    return float(base), float(slope)


def fit_model(items: Sequence[int], audio_s: Sequence[float], took_s: Sequence[float]) -> ModelCost:
    """The cost of a batch, which deviates least from what calls took, relative to each."""
    weight = 1 / np.array(took_s)
    columns = np.stack([weight, weight * np.array(items), weight * np.array(audio_s)], axis=1)
    found = np.linalg.lstsq(columns, np.ones(len(weight)), rcond=None)[0]
    return ModelCost(*(max(0.0, float(value)) for value in found))
