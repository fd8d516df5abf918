"""/metrics on a real server: what it says is what a client did."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from websockets.exceptions import InvalidStatus

from helpers.http_client import HttpClient
from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, STOP, Client, bursts, encode, pieces, start, stream
from helpers.wires import words_of_length
from voxgate.errors import InferenceError
from voxgate.models import Model
from voxgate.observe.metrics import metrics as metrics_module
from voxgate.observe.metrics.catalogue import CATALOGUE

Sample = tuple[str, frozenset[tuple[str, str]]]
DOCS = Path(__file__).parents[3] / "docs"


class Scrape(dict[Sample, float]):
    """All samples of an exposition, by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in parse(text)}
        for family in self.families.values():
            for sample in family.samples:
                self[sample.name, frozenset(sample.labels.items())] = sample.value

    def sum(self, name: str, **labels: str) -> float:
        """Over all series of `voxgate_<name>` that have these labels."""
        found = [value for (of, has), value in self.items() if of == f"voxgate_{name}" and has >= set(labels.items())]
        assert found, f"no voxgate_{name} with {labels}"
        return sum(found)


def scrape(server: Any) -> Scrape:
    with urllib.request.urlopen(server.http("/metrics"), timeout=30) as answer:
        return Scrape(answer.read().decode())


def check_laws(told: Scrape) -> None:
    """What holds at any scrape."""
    assert told.sum("streams_accepted_total") == told.sum("streams_total") + told.sum("streams_active")
    assert told.sum("closes_total") == told.sum("streams_total")
    for route in ("simple", "segmented", "stateful"):
        received, processed, abandoned, pending = (
            told.sum(f"audio_{what}", route=route)
            for what in (
                "received_seconds_total",
                "processed_seconds_total",
                "abandoned_seconds_total",
                "pending_seconds",
            )
        )
        assert received == pytest.approx(processed + abandoned + pending, abs=1e-8)
        assert min(processed, abandoned, pending) >= 0


def settled(server: Any, condition: Callable[[Scrape], bool]) -> Scrape:
    """Scrapes until it holds: the server learns of a client's end a little after the client."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        told = scrape(server)
        check_laws(told)
        if condition(told):
            return told
    raise AssertionError(sorted(told.items(), key=str))


def nobody(told: Scrape) -> bool:
    return told.sum("streams_active") == 0


def test_every_metric_of_the_catalogue_and_no_other(serve):
    server = serve()
    stream(server.url(), start(), bytes(32_000))
    told = scrape(server)
    ours = {name for name in told.families if name.startswith("voxgate_")}
    assert ours == {spec.family if spec.kind == "counter" else spec.name for spec in CATALOGUE}
    for spec in CATALOGUE:
        family = told.families[spec.family if spec.kind == "counter" else spec.name]
        assert family.type == {"info": "gauge"}.get(spec.kind, spec.kind)
        assert family.documentation == spec.help
        assert family.samples, spec.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == {"worker", *spec.labels}
            assert sample.labels["worker"] == "0"
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "python_gc_collections"} <= set(told.families)


def test_the_counters_are_what_the_client_did(serve):
    server = serve(**{"vad.speculate_ms": 0})  # one call for each final
    audio = encode(bursts((0.5, 2.0), (3.5, 5.0), length_s=6.0))
    said: list[str | bytes | dict[str, Any]] = [
        *(start(notices=True), *pieces(audio, 640), FLUSH, PAUSE, KEEP_ALIVE),
        *('{"request":"grüße"}', start(channels=2), audio[:64_001], STOP),
    ]
    with Client(server.url()) as client:
        client.send(*said)
        heard: list[str] = []
        for message in client.socket:
            heard.append(message)
    told = settled(server, nobody)
    texts = [
        message if isinstance(message, str) else json.dumps(message)
        for message in said
        if not isinstance(message, bytes)
    ]
    binaries = [message for message in said if isinstance(message, bytes)]
    assert told.sum("messages_total", direction="in", kind="text") == len(texts)
    assert told.sum("messages_total", direction="in", kind="binary") == len(binaries)
    assert told.sum("bytes_total", direction="in", kind="text") == sum(len(text.encode()) for text in texts)
    assert told.sum("bytes_total", direction="in", kind="binary") == sum(map(len, binaries))
    assert told.sum("messages_total", direction="out") == len(heard)
    assert told.sum("bytes_total", direction="out") == sum(len(text.encode()) for text in heard)
    # All channels added up; the last byte, which is half a sample, is none.
    assert told.sum("audio_received_seconds_total", route="segmented") == 6 + 2 * 1
    assert told.sum("audio_processed_seconds_total") == told.sum("audio_received_seconds_total")
    events = [json.loads(text) for text in heard]
    finals = [event for event in events if event["type"] == "segment"]
    assert told.sum("segments_total", kind="final") == len(finals) > 1
    assert told.sum("final_seconds_count") == len(finals)
    assert told.sum("errors_total", code="invalid_message") == 1
    assert told.sum("errors_total") == 1
    assert told.sum("streams_total", route="segmented", outcome="completed") == told.sum("streams_total") == 1
    assert told.sum("closes_total", code="1000") == 1
    assert told.sum("session_seconds_count", route="segmented") == 2
    assert told.sum("inferences_total", outcome="ok") == told.sum("inferences_accepted_total") == len(finals)


def test_audio_of_who_leaves_is_abandoned_to_the_sample(serve):
    began, go = threading.Event(), threading.Event()

    def stuck(audio: np.ndarray) -> dict[str, int]:
        began.set()
        assert go.wait(30)
        return {}

    server = serve(stuck, **{"inference.warm_up": False, "inference.per_stream": 1, "simple.min_chunk_ms": 0})
    try:
        with Client(server.url("simple")) as client:
            client.send(start(), bytes(2 * 4000))
            assert began.wait(30)
            client.send(bytes(2 * 1001))
            settled(server, lambda told: told.sum("audio_pending_seconds", route="simple") == 5001 / 16_000)
    finally:
        go.set()
    told = settled(server, nobody)
    assert told.sum("audio_abandoned_seconds_total", route="simple") in (5001 / 16_000, 1001 / 16_000)
    assert told.sum("audio_received_seconds_total", route="simple") == 5001 / 16_000
    assert told.sum("streams_total", outcome="left") == 1


def test_audio_of_an_open_utterance_is_pending(serve):
    server = serve()
    with Client(server.url()) as client:
        audio = encode(bursts((1.0, 3.0), length_s=3.0))
        client.send(start(vad={"prefix_padding_ms": 0}, notices=True), audio)
        (active,) = [event for event in client.until("active") if event["type"] == "active"]
        told = settled(server, lambda told: told.sum("audio_received_seconds_total") == 3.0)
        assert told.sum("audio_pending_seconds") == pytest.approx(3.0 - active["time"], abs=0.001)
        assert told.sum("sessions_active", route="segmented") == 1
        progress = client.until("progress")[-1]
        assert progress["processed_s"] == pytest.approx(active["time"], abs=0.001)
        assert progress["lag_s"] == 0  # the server waits for the speaker, not for the model
    told = settled(server, nobody)
    assert told.sum("audio_abandoned_seconds_total") == pytest.approx(3.0 - active["time"], abs=0.001)


@pytest.mark.parametrize(
    ("messages", "settings", "outcome", "code", "limit"),
    [
        ([b"x"] * 2 + ["{"] * 2, {"limits.invalid_messages": 2}, "invalid", "1008", "invalid_messages"),
        ([start(), bytes(2000)], {"limits.message_bytes": 1024}, "invalid", "1009", "message_bytes"),
        ([b"\x00" * 3000], {"limits.message_bytes": 1024}, "invalid", "1009", "message_bytes"),
        ([], {"limits.start_timeout_s": 0.1}, "timeout", "1008", "start_timeout_s"),
        ([start()], {"limits.idle_timeout_s": 0.1}, "timeout", "1008", "idle_timeout_s"),
    ],
)
def test_who_is_sent_away_is_counted_by_why(serve, messages, settings, outcome, code, limit):
    server = serve(**settings)
    with Client(server.url()) as client:
        client.send(*messages)
        client.rest()
        assert str(client.close_code) == code
    told = settled(server, nobody)
    assert told.sum("streams_total", outcome=outcome) == 1
    assert told.sum("closes_total", code=code) == 1
    if limit is not None:
        assert told.sum("limit_hits_total", limit=limit) == told.sum("limit_hits_total") == 1


def test_calls_are_counted_by_what_became_of_them(serve):
    def moody(audio: np.ndarray) -> dict[str, int]:
        if len(audio) == 1600:
            raise InferenceError("no")
        if len(audio) == 3200:
            raise ValueError("a bug")
        return {}

    server = serve(moody, **{"simple.min_chunk_ms": 0})
    for n_samples in (1600, 3200, 3200, 4800, 4800, 4800):
        stream(server.url("simple"), start(), bytes(2 * n_samples))
    told = settled(server, nobody)
    assert [told.sum("inferences_total", outcome=outcome) for outcome in ("refused", "failed", "ok")] == [1, 2, 3]
    assert told.sum("inferences_accepted_total") == told.sum("inferences_total") == 6
    assert told.sum("errors_total", code="inference_failed") == 1
    assert told.sum("errors_total", code="internal") == 2
    assert told.sum("audio_processed_seconds_total") == told.sum("audio_received_seconds_total") > 1


def test_refusals_are_counted_by_reason(serve):
    server = serve(**{"limits.streams": 1})
    for path in ("nothing", "segmented", "stateful"):
        with Client(server.url()) as client:
            client.send(start(notices=True))
            client.until("started")
            with pytest.raises(InvalidStatus), Client(server.url(path)):
                pass
    told = settled(server, nobody)
    assert told.sum("rejected_total", reason="not_found") == 1
    assert told.sum("rejected_total", reason="streams") == 1
    assert told.sum("rejected_total", reason="not_served") == 1
    assert told.sum("streams_accepted_total") == 3


def test_refusals_are_counted_by_wire(serve):
    server = serve(words_of_length, **{"limits.streams": 1})
    with Client(server.url()) as client:
        client.send(start(notices=True))
        client.until("started")
        with pytest.raises(InvalidStatus), Client(f"ws://127.0.0.1:{server.port}/v3/ws?sample_rate=16000"):
            pass
        for path in ("/v1/listen", "/api/v1/segmented"):
            with HttpClient(server.port).post(path) as request:
                request.end()
                assert request.answer()[0] == 503
    told = settled(server, nobody)
    for wire in ("assemblyai", "deepgram", "http"):
        assert told.sum("rejected_total", reason="streams", wire=wire) == 1
    assert told.sum("rejected_total") == 3


def test_openmetrics_and_gzip_when_they_are_asked_for(serve):
    server = serve()
    headers = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    request = urllib.request.Request(server.http("/metrics"), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.headers["Content-Encoding"] == "gzip"
        families = {family.name: family for family in parse_openmetrics(gzip.decompress(answer.read()).decode())}
    assert {spec.family for spec in CATALOGUE} <= set(families)
    assert families["voxgate_streams"].type == "counter"
    assert families["voxgate_build"].type == "info"


def test_metrics_with_a_port_of_their_own_are_there_alone(serve):
    server = serve(**{"metrics.port": 0})
    own = f"127.0.0.1:{server.service.metrics.port}"
    stream(server.url(), start(), bytes(100))
    with urllib.request.urlopen(f"http://{own}/metrics", timeout=30) as answer:
        assert Scrape(answer.read().decode()).sum("streams_total") == 1
    for url in (server.http("/metrics"), f"http://{own}/", f"http://{own}/api/v1/health"):
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            urllib.request.urlopen(url, timeout=30)
        refused.value.close()
    with pytest.raises(InvalidStatus, match="404"), Client(f"ws://{own}/api/v1/segmented"):
        pass


def test_who_asks_often_gets_the_same_answer(serve):
    server = serve(**{"metrics.max_age_s": 60})
    metrics = server.service.metrics
    n_made, n_written = 0, 0
    families, write = metrics._families, metrics_module.write

    def counted() -> Any:
        nonlocal n_made
        n_made += 1
        return families()

    def written(*arguments: Any) -> Any:
        nonlocal n_written
        n_written += 1
        return write(*arguments)

    metrics._families = counted
    headers = [
        *({}, {"Accept": "text/plain;version=1.0.0;escaping=allow-utf-8"}, {"Accept": "*/*", "Accept-Encoding": "br"}),
        *({"Accept": f"application/openmetrics-text; version=1.0.{n}"} for n in range(5)),
    ]
    answers = []

    def ask(headers: dict[str, str]) -> None:
        request = urllib.request.Request(server.http("/metrics"), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answers.append((answer.headers["Content-Type"], answer.read()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_module, "write", written)
        with server.standing_still():  # all at once
            askers = [threading.Thread(target=ask, args=(one,)) for one in headers * 4]
            for asker in askers:
                asker.start()
        for asker in askers:
            asker.join()
        stream(server.url("simple"), start())
        ask({})
    assert len(answers) == 33
    assert len(set(answers)) == 2  # text, and OpenMetrics
    assert (n_made, n_written) == (1, 2)
    assert Scrape(answers[-1][1].decode()).sum("streams_total") == 0


def test_an_answer_is_made_anew_when_it_is_old(serve, monkeypatch):
    server = serve(**{"metrics.max_age_s": 5})
    assert scrape(server).sum("streams_total") == 0
    stream(server.url("simple"), start())
    clock = itertools.count(time.monotonic() + 5, 5)
    monkeypatch.setattr(metrics_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert settled(server, nobody).sum("streams_total") == 1


def test_metrics_ask_for_a_token_where_streams_do_unless_told_otherwise(serve):
    asks, tells = serve(**{"auth.tokens": "secret"}), serve(**{"auth.tokens": "secret", "auth.metrics": False})
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        scrape(asks)
    refused.value.close()
    request = urllib.request.Request(asks.http("/metrics"), headers={"Authorization": "Bearer secret"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = Scrape(answer.read().decode())
    assert told.sum("rejected_total", reason="unauthorized") == 1
    assert scrape(tells).sum("rejected_total") == 0


def test_one_worker_answers_for_all(serve):
    server, other = serve(), serve()
    stream(server.url(), start())
    stream(other.url(), start())
    stream(other.url(), start())
    other.service.metrics.worker = "1"

    async def peers() -> list[str]:
        return [other.service.metrics.snapshot()]

    server.service.metrics.peers = peers
    told = settled(server, lambda told: told.sum("streams_total") == 3)
    assert told.sum("streams_total", worker="0") == 1
    assert told.sum("streams_total", worker="1", outcome="completed") == 2
    assert told.sum("ready") == 2


class Moody(Model):
    """Answers, refuses, fails or takes its time, by what it hears; keeps a state."""

    def _judge(self, audio: np.ndarray) -> dict[str, int]:
        match int(np.abs(audio).sum() * 1000) % 7:
            case 0:
                raise InferenceError("no")
            case 1:
                raise ValueError("a bug")
        return {"count": len(audio)}

    def infer(self, audio: np.ndarray) -> dict[str, int]:
        return self._judge(audio)

    def open(self) -> list[int]:
        return [0]

    def step(self, audio: np.ndarray, state: list[int]) -> dict[str, int] | None:
        state[0] += len(audio)
        return self._judge(audio) if state[0] % 3 else None

    def finish(self, state: list[int]) -> dict[str, int]:
        return {"total": state[0]}


def test_any_mix_of_clients_adds_up_at_any_scrape(serve):
    """Some stop, some leave in the middle of an utterance, some begin again and again, some talk nonsense."""
    server = serve(Moody(), **{"simple.min_chunk_ms": 20, "vad.silence_duration_ms": 100})
    audio = encode(bursts((0.2, 0.8), (1.1, 1.6), (1.9, 3.0), length_s=3.0, seed=3))
    sent = {"text": 0, "binary": 0, "bytes": 0}
    ended = {"completed": 0, "left": 0, "invalid": 0}
    audio_s = dict.fromkeys(("simple", "segmented", "stateful"), 0.0)
    left_s = audio_s.copy()
    failures: list[BaseException] = []
    lock = threading.Lock()

    def live(number: int) -> None:
        rng = np.random.default_rng(number)
        route = ("segmented", "simple", "stateful")[number % 3]
        ending = ("completed", "left", "completed", "invalid")[rng.integers(4)]
        said: list[str | bytes | dict[str, Any]] = []
        seconds = 0.0
        for _ in range(rng.integers(1, 4)):
            channels = int(rng.integers(1, 3))
            said.append(start(channels=channels, interim_results=bool(rng.integers(2))))
            heard = audio[: 4 * int(rng.integers(1000, len(audio) // 4))]
            said += pieces(heard, int(rng.integers(600, 9000)))
            seconds += len(heard) / 2 / 16_000
            if rng.integers(2):
                said.append(PAUSE)
        said += {"completed": [STOP], "left": [], "invalid": ["{"] * 8}[ending]
        if ending == "left":
            said += [start(), audio[: 2 * 5000]]
            seconds += 5000 / 16_000
        with Client(server.url(route)) as client:
            client.send(*said)
            if ending != "left":
                client.rest()
        with lock:
            ended[ending] += 1
            audio_s[route] += seconds
            left_s[route] += seconds * (ending == "left")
            for message in said:
                sent["binary" if isinstance(message, bytes) else "text"] += 1
                sent["bytes"] += len(json.dumps(message) if isinstance(message, dict) else message)

    def guarded(number: int) -> None:
        try:
            live(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(18)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        check_laws(scrape(server))
    for thread in threads:
        thread.join()
    assert failures == []
    told = settled(server, lambda told: nobody(told) and told.sum("running_jobs") == 0)
    assert {outcome: told.sum("streams_total", outcome=outcome) for outcome in ended} == ended
    assert told.sum("streams_total") == len(threads)
    assert told.sum("messages_total", direction="in", kind="text") == sent["text"]
    assert told.sum("messages_total", direction="in", kind="binary") == sent["binary"]
    assert told.sum("bytes_total", direction="in") == sent["bytes"]
    for route, seconds in audio_s.items():
        # What had not been decoded when its client left is not audio yet.
        received_s = told.sum("audio_received_seconds_total", route=route)
        assert seconds - left_s[route] - 1e-6 <= received_s <= seconds + 1e-6
        assert told.sum("audio_pending_seconds", route=route) == 0
    assert told.sum("inferences_accepted_total") == told.sum("inferences_total") > 0
    assert told.sum("errors_total", code="invalid_message") == 8 * ended["invalid"]


def test_the_series_of_all_routes_and_kinds_stay_few(serve):
    """2000 are the limit of an installation."""
    server = serve(Moody())
    for route in ("simple", "segmented", "stateful"):
        stream(server.url(route), start(interim_results=True), encode(bursts((0.5, 2), length_s=3)))
    # Tasks are counted for the whole process, with the subsystems of whatever tests ran before.
    assert len([name for name, _ in scrape(server) if "_task" not in name]) < 600
