"""The spans of model calls: failures, interims and batches."""

import threading
from collections.abc import Callable

from helpers import wire
from helpers.otlp import named
from voxgate import InferenceError, Model

SPAN = "b7ad6b7169203331"
OTHER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPEECH = wire.encode(wire.bursts((1.0, 2.0), length_s=3.5))


def test_a_failure_is_in_the_trace(collect, serve):
    def refuse(audio):
        raise InferenceError("no such language")

    collector = collect()
    server = serve(refuse)
    wire.stream(server.url(), wire.start(), SPEECH)
    spans = collector.wait_for("session", "utterance", "inference")
    for name in ("inference", "utterance"):
        (span,) = named(spans, name)
        assert span.failed
        assert span.attributes["error.type"] == "inference_failed"
        assert span.events["exception"]["exception.message"] == "no such language"
    assert not named(spans, "session")[0].failed


def test_an_error_whose_text_is_impossible(collect, serve):
    class Odd(InferenceError):
        def __str__(self) -> str:
            raise RuntimeError("no text today")

    def refuse(audio):
        raise Odd if len(audio) > 10_000 else InferenceError("a\ud800b")

    collector = collect()
    server = serve(refuse, **{"inference.warm_up": False})
    for n_bytes in (16_000, 32_000):
        wire.stream(server.url("simple"), wire.start(), bytes(n_bytes))
    spans = named(collector.wait_for("session", "session", "inference", "inference"), "inference")
    texts = {span.events["exception"]["exception.message"] for span in spans}
    assert texts == {"a?b", "Unexpected inference failure"}


def test_what_a_broken_model_says_stays_in_the_log(collect, serve):
    def break_down(audio):
        raise ValueError("heard: the launch code is 0000")

    collector = collect()
    server = serve(break_down)
    wire.stream(server.url(), wire.start(), SPEECH)
    (inference,) = named(collector.wait_for("session", "inference"), "inference")
    assert inference.failed
    assert inference.attributes["error.type"] == "internal"
    assert "launch" not in repr(vars(inference))


def test_the_interim_that_a_final_overtakes(collect, serve):
    entered, let_go = threading.Event(), threading.Event()

    def slow_interim(audio):
        if not entered.is_set():
            entered.set()
            assert let_go.wait(30)
        return {}

    collector = collect()
    server = serve(slow_interim, **{"inference.threads": 1, "inference.warm_up": False})
    with wire.Client(server.url()) as client:
        client.send(wire.start(interim_results=True), SPEECH[:64_000])
        assert entered.wait(30)
        client.send(SPEECH[64_000:])
        client.until("inactive")
        let_go.set()
        client.send(wire.STOP)
        client.rest()
    spans = collector.wait_for("session", "utterance", "inference", "inference")
    (utterance,) = named(spans, "utterance")
    interims = [span for span in named(spans, "inference") if not span.attributes["voxgate.final"]]
    assert {span.parent_id for span in named(spans, "inference")} == {utterance.id}
    assert "superseded" in {span.attributes["voxgate.outcome"] for span in interims}


class VadBatcher(Model):
    """Lets nobody through until it is told to; then whoever waits comes in one batch."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def infer(self, audio):
        self.entered.set()
        assert self.let_go.wait(30)
        return {}

    def infer_batch(self, batch):
        return [{} for _ in range(len(batch))]


def test_a_batch_is_linked_with_the_calls_of_its_streams(collect, serve):
    model = VadBatcher()
    collector = collect()
    server = serve(model, **{"inference.threads": 1, "inference.warm_up": False})
    clients = [wire.Client(server.url("simple")) for _ in range(3)]
    with clients[0], clients[1], clients[2]:
        clients[0].send(wire.start(), bytes(32_000), wire.FLUSH)
        assert model.entered.wait(30)
        unsampled = wire.start(trace_id=f"00-{OTHER_TRACE}-{SPAN}-00")
        clients[1].send(wire.start(), bytes(32_000), wire.FLUSH, wire.KEEP_ALIVE)
        clients[2].send(wire.start(), bytes(32_000), wire.FLUSH)
        with wire.Client(server.url("simple")) as other:
            other.send(unsampled, bytes(32_000), wire.FLUSH)
            wait_until(server, lambda: server.service.scheduler.depths()["final"] == 3)
            model.let_go.set()
            for client in (*clients, other):
                client.send(wire.STOP)
                client.rest()
    spans = collector.wait_for("session", "session", "session", "batch")
    (batch,) = named(spans, "batch")
    assert batch.attributes["voxgate.batch.size"] == 3
    runs = [span for span in named(spans, "run") if span.attributes["voxgate.batch.size"] == 3]
    assert len(runs) == 2  # that of the stream which is not sampled has no span
    assert [run.links for run in runs] == [[batch.id], [batch.id]]
    assert sorted(batch.links) == sorted(run.parent_id for run in runs)
    assert len({run.trace_id for run in runs} | {batch.trace_id}) == 3
    (alone,) = [span for span in named(spans, "run") if span.attributes["voxgate.batch.size"] == 1]
    assert alone.links == []


def wait_until(server, condition: Callable[[], bool]) -> None:
    """Asks on the server's loop, again and again, until it is so."""
    done = threading.Event()
    loop = server.service.scheduler._loop

    def ask() -> None:
        if condition():
            done.set()
        else:
            loop.call_later(0.002, ask)

    loop.call_soon_threadsafe(ask)
    assert done.wait(30)
