"""The load generator: many live streams from one core, whose results are compared with those of an idle server."""

from .cost import Cost, from_metrics, from_pid
from .generator import Generator, Plan, no_garbage_collection
from .material import BARE, ENCODERS, ENCODINGS, WEBSOCKET, Framing, Material, encode_material, make_material
from .quantiles import Quantiles, quantiles
from .reference import Reference, ReferenceFailed, record_references
from .run import LATE_MS, Counts, Outcome, ServerCost, cost_between, counts_of, run, sample
from .websocket import Clock, LoadWire, Target

__all__ = [
    "BARE",
    "ENCODERS",
    "ENCODINGS",
    "LATE_MS",
    "Clock",
    "Cost",
    "Counts",
    "Framing",
    "Generator",
    "LoadWire",
    "Material",
    "Outcome",
    "Plan",
    "Quantiles",
    "Reference",
    "ReferenceFailed",
    "ServerCost",
    "Target",
    "WEBSOCKET",
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
