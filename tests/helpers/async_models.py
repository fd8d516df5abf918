"""A model of coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from voxgate import Model


class Sleeper(Model):
    async def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return {"count": len(audio)}
