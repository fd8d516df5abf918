"""Rolling updates of both tiers while people speak: two servers behind nginx, two Ray nodes, clients that reconnect."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from helpers.cluster import WAIT_S, put
from helpers.nginx import NGINX, Nginx
from helpers.ports import held_port
from helpers.serve_process import ServeProcess
from helpers.wire import bursts, encode
from tools.ray_nodes import LocalCluster
from voxgate.client import AudioFormat, Lost, Reconnect, Resumed, stream
from voxgate.protocol.events import Error, Segment

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

RATE = 16_000
PERIOD_S, SPOKEN_S = 2.5, 1.2
"""An utterance begins this often, and takes so long."""
TICK_S = 0.1
UTTERANCE = encode(bursts((0.5, 0.5 + SPOKEN_S), length_s=PERIOD_S))
SETTINGS = {
    "inference.engine": "ray",
    "ray.address": "127.0.0.1:6379",
    "server.trusted_proxies": "127.0.0.1",
    "vad.detector": "energy",
    "server.drain_s": 3,
}


class Speaker:
    """A client that speaks until it may stop, at live pace."""

    def __init__(self, url: str, may_stop: threading.Event) -> None:
        self.n_utterances = 0
        self.finals: list[Segment] = []
        self.errors: list[Error] = []
        self.notices: list[Lost | Resumed] = []
        self._url = url
        self._may_stop = may_stop

    async def _speech(self) -> AsyncIterator[bytes]:
        n_bytes = round(TICK_S * RATE) * 2
        next_s = time.monotonic()
        while not self._may_stop.is_set():
            self.n_utterances += 1
            for at in range(0, len(UTTERANCE), n_bytes):
                yield UTTERANCE[at : at + n_bytes]
                next_s += TICK_S
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def speak(self) -> None:
        reconnect = Reconnect(attempts=100, first_wait_s=0.1, longest_wait_s=1.0, on_notice=self.notices.append)
        form = AudioFormat(1, RATE, 16, False)
        async for event in stream(self._speech(), addr=self._url, format=form, reconnect=reconnect, chunk_size=3200):
            if isinstance(event, Segment):
                self.finals.append(event)
            elif isinstance(event, Error):
                self.errors.append(event)

    def answers(self) -> list[int]:
        """For each utterance, the number of results that cover its middle."""
        middles = [n * PERIOD_S + 0.5 + SPOKEN_S / 2 for n in range(self.n_utterances)]
        return [sum(each.start_time <= middle <= each.end_time for each in self.finals) for middle in middles]


def speak_while(url: str, n_streams: int, change: Callable[[], None]) -> list[Speaker]:
    """Speakers that go on until `change`, in a thread of its own, is over."""
    over, failure = threading.Event(), []

    def run() -> None:
        try:
            time.sleep(2 * PERIOD_S)
            change()
            time.sleep(2 * PERIOD_S)
        except BaseException as error:
            failure.append(error)
        finally:
            over.set()

    speakers = [Speaker(url, over) for _ in range(n_streams)]

    async def all_of_them() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            await asyncio.gather(*(each.speak() for each in speakers))

    thread = threading.Thread(target=run)
    thread.start()
    asyncio.run(all_of_them())
    thread.join()
    assert failure == []
    return speakers


class Tier:
    """Two servers behind nginx."""

    def __init__(self, nginx: Nginx, ports: list[int]) -> None:
        self.url = f"ws://127.0.0.1:{nginx.port}/api/v1/segmented"
        self.servers = [ServeProcess(port, "", SETTINGS) for port in ports]
        for server in self.servers:
            server.wait_ready()

    def restart_all(self) -> None:
        for index, server in enumerate(self.servers):
            server.terminate()
            assert server.wait() == 0
            self.servers[index] = ServeProcess(server.port, "", SETTINGS).wait_ready()


@pytest.fixture
def tier(cluster: LocalCluster, tmp_path: Path) -> Iterator[Tier]:
    put("Plain", tmp_path)
    with held_port() as one, held_port() as other, held_port() as port, Nginx(tmp_path, port, [one, other]) as nginx:
        made = Tier(nginx, [one, other])
        yield made
        for server in made.servers:
            server.kill()


def test_both_servers_are_restarted_in_mid_speech(tier: Tier) -> None:
    speakers = speak_while(tier.url, 6, tier.restart_all)
    for speaker in speakers:
        assert speaker.n_utterances >= 4
        assert speaker.answers() == [1] * speaker.n_utterances
        assert speaker.errors == []
        assert any(isinstance(notice, Resumed) for notice in speaker.notices)
        assert [notice.gap_s for notice in speaker.notices if isinstance(notice, Resumed) and notice.gap_s] == []


def test_the_model_is_deployed_anew_in_mid_speech(tier: Tier, tmp_path: Path) -> None:
    speakers = speak_while(tier.url, 6, lambda: put("Plain", tmp_path, version=2))
    for speaker in speakers:
        assert speaker.answers() == [1] * speaker.n_utterances
        assert speaker.errors == []
        assert speaker.notices == []
        versions = [each.output["version"] for each in speaker.finals]
        assert versions == sorted(versions)
        assert (versions[0], versions[-1]) == (1, 2)
