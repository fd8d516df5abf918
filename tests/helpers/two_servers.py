"""A model that says which process answers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def answer(audio: np.ndarray) -> dict[str, Any]:
    return {"pid": os.getpid(), "n": len(audio)}
