"""Models: the contract (:class:`voxgate.Model`), the loader, and the bundled models.

Importing the package imports no model; :func:`load_model` imports the one that it loads.
"""

from __future__ import annotations

from voxgate.models.base import Batch, Model
from voxgate.models.function import FunctionModel
from voxgate.models.loader import available_models, find_model, load_model, make_model
from voxgate.models.request import Request

__all__ = ["Batch", "FunctionModel", "Model", "Request", "available_models", "find_model", "load_model", "make_model"]
