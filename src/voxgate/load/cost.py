"""The CPU time and memory of the server, from its metrics or, on the same machine, from the kernel."""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Cost", "from_metrics", "from_pid"]

TIMEOUT_S = 5.0
MAX_BYTES = 16 * 1024 * 1024
_CPU = re.compile(r"^process_cpu_seconds_total(?:\{[^}]*\})? ([0-9.eE+-]+)", re.MULTILINE)
_MEMORY = re.compile(r"^process_resident_memory_bytes(?:\{[^}]*\})? ([0-9.eE+-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """The CPU time of a server since its start, and its current memory."""

    cpu_s: float
    """Seconds of CPU, of all its threads."""
    memory_bytes: float
    """Resident."""


Sampler = Callable[[], Cost]


def from_pid(pid: int) -> Cost:
    """The cost of a process of this machine. Raises OSError when it does not exist."""
    # The CPU clock of the process, with the id of clock_getcpuclockid(3): it has nanoseconds, while /proc/PID/stat has
    # hundredths of a second, more than one stream uses in five seconds.
    cpu_s = time.clock_gettime(~pid << 3 | 2)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Cost(cpu_s, float(pages * os.sysconf("SC_PAGE_SIZE")))


def from_metrics(url: str, token: str | None) -> Cost:
    """The cost from Prometheus text at an http or https URL. Blocks. Raises OSError or ValueError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        text = response.read(MAX_BYTES).decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise ValueError(f"{url}: {error!r}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"{url}: HTTP {response.status}")
    cpu, memory = _CPU.search(text), _MEMORY.search(text)
    if cpu is None or memory is None:
        raise ValueError(f"{url} has no process_cpu_seconds_total or process_resident_memory_bytes")
    return Cost(float(cpu[1]), float(memory[1]))
