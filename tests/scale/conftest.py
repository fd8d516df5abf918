"""The simulation as plain Python: a compiler would take longer than all tests."""

from __future__ import annotations

import numba

before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 1
try:
    import bench.scale.simulation  # noqa: F401
finally:
    numba.config.DISABLE_JIT = before
