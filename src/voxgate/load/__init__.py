"""The load generator: many live streams from one core, whose results are compared with those of an idle server."""

from .cost import Cost, from_metrics, from_pid
from .generator import Generator, Plan, no_garbage_collection
from .material import ENCODERS, ENCODINGS, Material, encode_material, make_material
from .quantiles import Quantiles, quantiles
from .reference import Reference, ReferenceFailed, record_references
from .run import LATE_MS, Counts, Outcome, ServerCost, cost_between, counts_of, run, sample
from .websocket import Clock, Target

__all__ = [
    "ENCODERS",
    "ENCODINGS",
    "LATE_MS",
    "Clock",
    "Cost",
    "Counts",
    "Generator",
    "Material",
    "Outcome",
    "Plan",
    "Quantiles",
    "Reference",
    "ReferenceFailed",
    "ServerCost",
    "Target",
    "cost_between",
    "counts_of",
    "encode_material",
    "from_metrics",
    "from_pid",
    "make_material",
    "no_garbage_collection",
    "quantiles",
    "record_references",
    "run",
    "sample",
]
