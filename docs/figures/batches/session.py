"""How every client of these measurements begins its session."""

from __future__ import annotations

import json

RATE = 16_000
START = json.dumps(
    {"request": "start", "format": {"channels": 1, "sample_rate": RATE, "bit_depth": 16, "is_float": False}}
)
