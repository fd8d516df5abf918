"""Makes Python functions fast: `jit` is Numba's, with a cache that follows the source of this folder.

Numba does not notice when a function that another file calls has changed, so the folder of its cache has the digest
of all files with such functions in its name. The first run compiles for about a minute.

With `NUMBA_DISABLE_JIT=1` the same functions run as plain Python, and `rows` gives lists of objects in place of arrays
of records: slower, but without a compiler. Tests use this.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numba
import numpy as np

HERE = Path(__file__).parent
PLAIN = bool(numba.config.DISABLE_JIT)

_sources = [path.read_bytes() for path in sorted(HERE.glob("*.py"))]
_digest = hashlib.sha256(b"".join(text for text in _sources if b"@jit" in text or b"World" in text)).hexdigest()[:16]
if not PLAIN:
    numba.config.CACHE_DIR = str(HERE.parents[1] / "build" / "scale-cache" / _digest)

jit = numba.njit(cache=True)


def rows(fields: dict[str, float | int], n: int) -> Any:
    """`n` records with these fields and their first values, which say whether a field is a float or an integer. A
    record is `rows[i]`, its fields are attributes.
    """
    if PLAIN:
        kind = type("Row", (), {"__slots__": tuple(fields)})
        made = []
        for _ in range(n):
            row = kind()
            for name, value in fields.items():
                setattr(row, name, value)
            made.append(row)
        return made
    array = np.zeros(n, [(name, "f8" if isinstance(value, float) else "i8") for name, value in fields.items()])
    for name, value in fields.items():
        array[name] = value
    return array.view(np.recarray)


def fill(table: Any, **columns: Any) -> None:
    """Sets fields of all records, from one sequence each."""
    for name, values in columns.items():
        if PLAIN:
            for row, value in zip(table, np.asarray(values).tolist(), strict=True):
                setattr(row, name, value)
        else:
            table[name] = values


def numbers(values: Any) -> Any:
    """A row of floats, as the functions of this mode want it."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    return array.tolist() if PLAIN else array
