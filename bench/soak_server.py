"""`voxgate serve` that reports its own memory, for the soak.

    python bench/soak_server.py PROBE_SOCKET serve --model soak_models:Pitch ...

Each connection to the Unix socket PROBE_SOCKET gets one line of JSON, with what it holds (`held`).
"""

from __future__ import annotations

import ctypes
import gc
import json
import linecache
import re
import socket
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from soak_models import fill_caches

from voxgate.cli import main

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc, 2.33 and newer: sums over all arenas."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]


def mallinfo2() -> Mallinfo2:
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Mallinfo2
    info: Mallinfo2 = ask()
    return info


def held() -> dict[str, int]:
    """What the process holds when it has given back what it can: garbage, source text that was read for a stack in the
    log, pages that malloc does not need.

    in_use_bytes: allocated with malloc and not freed; heap_bytes: what malloc has of the system for it. Objects of up
    to 512 bytes are not among them: Python allocates these itself, counted in python_blocks.
    """
    linecache.clearcache()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    info = mallinfo2()
    status = Path("/proc/self/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident is not None
    return {
        "rss_bytes": int(resident[1]) * 1024,
        "in_use_bytes": info.uordblks + info.hblkhd,
        "heap_bytes": info.arena + info.hblkhd,
        "python_blocks": sys.getallocatedblocks(),
    }


def answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(json.dumps(held()).encode() + b"\n")


if __name__ == "__main__":
    probe = socket.socket(socket.AF_UNIX)
    probe.bind(sys.argv[1])
    probe.listen()
    threading.Thread(target=answer, args=(probe,), name="soak-probe", daemon=True).start()
    fill_caches()  # of the thread that runs the event loop
    sys.exit(main(sys.argv[2:]))
