"""Models: the contract (:class:`voxgate.Model`), the loader, and those which come with Voxgate.

Importing the package imports no model: each is imported when :func:`load_model` is asked for it.
"""

from __future__ import annotations

from voxgate.models.base import Batch, Model
from voxgate.models.function import FunctionModel
from voxgate.models.loader import available_models, find_model, load_model

__all__ = ["Batch", "FunctionModel", "Model", "available_models", "find_model", "load_model"]
