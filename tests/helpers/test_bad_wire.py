"""Wires that are cut, stall, delay and split: what is whole is not changed, what is broken is tidied up, and streams
beside notice nothing.
"""

from __future__ import annotations

import random
import threading
import time

import pytest

from helpers.bad_wire import BadWire, Fate
from helpers.raw import Raw
from helpers.wire import STOP, bursts, encode, pieces, start, story, stream
from hostile.leftovers import SETTLE_S, held, settle
from hostile.siege import Neighbour

TALK = encode(bursts((0.6, 1.2), (2.1, 2.7), length_s=3.5))
CLIENTS = 60
AT_ONCE = 6
HANDSHAKE_BYTES = 400
DEADLINES = {
    "limits.handshake_timeout_s": 3,
    "limits.message_timeout_s": 3,
    "limits.start_timeout_s": 3,
    "limits.idle_timeout_s": 4,
    "server.send_timeout_s": 3,
}


@pytest.mark.parametrize(
    "fate",
    [Fate(max_piece_bytes=3), Fate(max_piece_bytes=700), Fate(max_piece_bytes=20_000, max_delay_s=0.02)],
    ids=["splits finely", "splits", "delays"],
)
def test_a_wire_that_splits_and_delays_changes_nothing(serve, fate):
    server = serve()
    data = TALK if fate.max_piece_bytes > 3 else TALK[:50_000]
    messages = [start(interim_results=False), *pieces(data, 5000)]
    alone = story(stream(server.url(), *messages))
    assert len(alone) >= 3
    with BadWire(server.port, lambda number: fate) as wire:
        assert story(stream(f"ws://127.0.0.1:{wire.port}/api/v1/segmented", *messages)) == alone


def cut_somewhere(number: int) -> Fate:
    """In the handshake, in the first messages, or anywhere; in either direction."""
    rng = random.Random(number)
    to_server = rng.random() < 0.5
    most = rng.choice([HANDSHAKE_BYTES, 2000, len(TALK)]) if to_server else rng.choice([200, 700])
    return Fate(
        max_piece_bytes=rng.choice([1, 100, 20_000]) if most < 3000 else 20_000,
        end=rng.choice(["reset", "close", "stall"]),
        end_in="to_server" if to_server else "to_client",
        end_after_bytes=rng.randint(1, most),
    )


def talk_over(port: int) -> bool:
    """A whole stream over a wire that may break. False: it broke."""
    try:
        with Raw(port) as raw:
            raw.socket.settimeout(0.3)
            raw.open()
            raw.say(start(interim_results=True), *pieces(TALK, 7000), STOP)
            return bool(raw.rest()) and raw.close_code == 1000
    except (OSError, AssertionError):
        return False


def test_wires_that_are_cut_at_any_point(serve):
    server = serve(**DEADLINES)
    neighbour = Neighbour(server.url())
    before = held(server)
    broken = []
    with BadWire(server.port, cut_somewhere) as wire:

        def clients() -> None:
            for _ in range(CLIENTS // AT_ONCE):
                broken.append(not talk_over(wire.port))

        threads = [threading.Thread(target=clients) for _ in range(AT_ONCE)]
        with neighbour:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        # Also those whose wire has only gone silent: their time is up.
        end_s = time.monotonic() + SETTLE_S
        while server.service.streams or server.server.server_state.connections:
            assert time.monotonic() < end_s, f"{server.service.streams} streams are left"
            time.sleep(0.01)
    settle(server, before)
    assert sum(broken) >= 0.9 * CLIENTS
    assert server.loop_errors == []
    assert neighbour.beside
    assert all(events == neighbour.alone for events in neighbour.beside)
