"""A stream that is over leaves nothing behind in the server: no object, and no memory of Python's or NumPy's.

Blocks that NumPy and malloc keep for reuse are not counted; `make soak` counts those too.
"""

from __future__ import annotations

import gc
import linecache
import logging
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from helpers.wire import Client, bursts, encode, start, stream
from hostile.leftovers import held, settle
from voxgate.models import Model

pytestmark = pytest.mark.usefixtures("frozen")

WARM_UP_STREAMS = 100
STREAMS = 50  # of a batch
BATCHES = 6
"""A leak shows in each of them; what happens once (a cache, a counter that is above 256 now, a slow step that is
remembered) does not."""
MOST_BYTES = 200 * STREAMS
AUDIO = encode(bursts((0.2, 0.5), length_s=1.0))


class Both(Model):
    """Served on every route. Keeps `leak` of each call."""

    def __init__(self, leak: Callable[[], object] | None = None) -> None:
        self._leak, self._kept = leak, list[object]()

    def infer(self, audio):
        if self._leak is not None:
            self._kept.append(self._leak())
        return {"count": len(audio)}

    def open(self):
        return [0]

    def step(self, audio, state):
        state[0] += len(audio)
        if self._leak is not None:
            self._kept.append(self._leak())
        return {"count": state[0]}


@pytest.fixture
def traced() -> Iterator[None]:
    logging.disable()  # pytest keeps every record
    of_threads = threading.gettrace()
    threading.settrace(None)  # type: ignore[arg-type]  # coverage keeps something of every thread that it traces
    tracemalloc.start()
    yield
    tracemalloc.stop()
    threading.settrace(of_threads)  # type: ignore[arg-type]
    logging.disable(logging.NOTSET)


def left_by(serve: Callable[..., object], route: str, model: Model) -> tuple[dict[str, int], int]:
    """By `STREAMS` streams, each time: what is more: objects by type, and bytes."""
    server = serve(model, **{"limits.streams_per_address": 1000, "inference.threads": 1})
    before = held(server)

    def streams(n_streams: int) -> None:
        for number in range(n_streams):
            if number % 10:
                stream(server.url(route), start(notices=number % 2 == 0), AUDIO[:7001], AUDIO[7001:])
            else:
                with Client(server.url(route)) as client:  # leaves in the middle of a word
                    client.send(start(interim_results=True), AUDIO[:9001])
                    client.socket.socket.close()
        settle(server, before)
        linecache.clearcache()  # read for a stack that a busy machine's watchdog logs
        gc.collect()

    streams(WARM_UP_STREAMS)
    objects = count()
    always: Counter[str] | None = None
    n_bytes: list[int] = []
    for _ in range(BATCHES + 1):
        n_bytes.append(tracemalloc.get_traced_memory()[0])
        streams(STREAMS)
        after = count()
        more = after - objects
        always = more if always is None else always & more
        objects = after
    assert always is not None
    return (
        {name: n for name, n in always.items() if n >= STREAMS // 2},
        min(after - before for before, after in pairwise(n_bytes)),
    )


def count() -> Counter[str]:
    """Objects by the name of their type."""
    return Counter(type(it).__qualname__ for it in gc.get_objects())


@pytest.mark.parametrize("route", ["simple", "segmented", "stateful"])
def test_streams_leave_nothing_behind(serve, traced, route: str):
    objects, n_bytes = left_by(serve, route, Both())
    assert objects == {}
    assert n_bytes < MOST_BYTES


def test_what_a_call_leaves_behind_is_found(serve, traced):
    """An object, and 400 bytes."""
    objects, n_bytes = left_by(serve, "segmented", Both(lambda: [bytes(400)]))
    assert set(objects) == {"list"}
    assert n_bytes > MOST_BYTES
