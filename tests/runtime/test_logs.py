from __future__ import annotations

import io
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from helpers import wire
from voxgate.runtime import logs
from voxgate.runtime.logs import Handler, HumanFormatter, JsonFormatter, LogContext, RateLimit

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SPEECH = wire.encode(wire.bursts((1.0, 2.0), length_s=3.5))


def record(text: str = "text", *args: Any, level: int = logging.ERROR, name: str = "voxgate.x", **more: Any) -> Any:
    made = logging.LogRecord(name, level, "file.py", 1, text, args, None)
    made.__dict__.update(more)
    return made


def raised(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


# JSON lines


def test_a_json_line():
    moment = record("%d of %s", 3, "them", created=1_700_000_000.25, level=logging.WARNING)
    assert json.loads(JsonFormatter().format(moment)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "voxgate.x",
        "message": "3 of them",
    }


def test_a_json_line_of_a_session():
    with logs.about(LogContext("session-id", TRACE)):
        line = json.loads(JsonFormatter().format(record("x", fields={"results": 2})))
    assert (line["session"], line["trace"], line["results"]) == ("session-id", TRACE, 2)


def test_a_json_line_of_a_batch_names_each_session_once():
    token = logs.current.set((LogContext("a", TRACE), LogContext("b"), LogContext("a", TRACE)))
    try:
        line = json.loads(JsonFormatter().format(record()))
    finally:
        logs.current.reset(token)
    assert (line["session"], line["trace"]) == (["a", "b"], TRACE)


def test_a_json_line_is_one_line_whatever_is_in_it():
    text = JsonFormatter().format(record("a\nb\x1b[31m\ud800é", exc_info=raised(ValueError("c\nd"))))
    assert "\n" not in text
    assert text.isascii()
    line = json.loads(text)
    assert line["message"] == "a\nb\x1b[31m\ud800é"
    assert line["exception"].endswith("ValueError: c\nd")


def test_the_stack_of_a_worker_process_comes_as_text():
    assert json.loads(JsonFormatter().format(record(exc_text="their stack")))["exception"] == "their stack"


def test_what_is_very_long_is_cut():
    line = json.loads(JsonFormatter().format(record("x" * 1_000_000)))
    assert len(line["message"]) < 20_000
    assert line["message"].endswith("(1000000 characters)")


# For people


def test_a_human_line():
    with logs.about(LogContext("0123456789abcdef", TRACE)):
        text = HumanFormatter().format(record("hello", level=logging.INFO, fields={"results": 2}))
    moment, rest = text[:23], text[23:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", moment)
    assert rest == " INFO    voxgate.x: hello results=2 [session 01234567, trace 0af76519]"


def test_a_client_cannot_begin_a_line_nor_speak_to_the_terminal():
    text = HumanFormatter().format(record("nothing at %s", "/a\n2026 ERROR forged\x1b[2J\x9b"))
    assert text.endswith("nothing at /a\\x0a2026 ERROR forged\\x1b[2J\\x9b")


def test_the_stack_stands_below():
    lines = HumanFormatter().format(record(exc_info=raised(ValueError("why")))).splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: why"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, to be set up; afterwards as it was."""
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("uvicorn").level)
    yield logging.root
    for handler in list(logging.root.handlers):
        if isinstance(handler, Handler):
            handler.close()
    logging.root.handlers[:] = before[1]
    logging.root.setLevel(before[0])
    logging.getLogger("uvicorn").setLevel(before[2])
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("stream", "format", "environ", "begins"),
    [
        (io.StringIO, "auto", {}, "{"),
        (Terminal, "json", {}, "{"),
        (Terminal, "auto", {}, "2"),
        (io.StringIO, "human", {}, "2"),
    ],
)
def test_the_form(root: logging.Logger, stream: Any, format: str, environ: dict[str, str], begins: str):
    out = stream()
    handler = logs.setup("info", format, out, environ)
    logging.getLogger("voxgate.x").error("text")
    assert handler.stream.drain(30)
    assert out.getvalue().startswith(begins)


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colours(root: logging.Logger, environ: dict[str, str], coloured: bool):
    out = Terminal()
    handler = logs.setup("info", "auto", out, environ)
    logging.getLogger("voxgate.x").error("text")
    assert handler.stream.drain(30)
    assert ("\x1b[" in out.getvalue()) is coloured


def test_the_level_and_uvicorn_whose_lines_at_info_tell_queries(root: logging.Logger):
    out = io.StringIO()
    handler = logs.setup("info", "json", out)
    logging.getLogger("voxgate.x").debug("no")
    logging.getLogger("uvicorn.error").info("no")
    logging.getLogger("uvicorn.error").warning("yes")
    assert handler.stream.drain(30)
    assert [json.loads(line)["logger"] for line in out.getvalue().splitlines()] == ["uvicorn.error"]


@pytest.mark.parametrize("name", ["httpx", "httpcore", "httpcore.http11"])
def test_a_model_that_calls_another_server_logs_no_request_and_no_header(root: logging.Logger, name: str):
    logs.setup("debug", stream=io.StringIO())
    logger = logging.getLogger(name)
    assert not logger.isEnabledFor(logging.INFO)
    assert logger.isEnabledFor(logging.WARNING)


def test_setting_up_again_replaces(root: logging.Logger):
    first, second = io.StringIO(), io.StringIO()
    logs.setup("info", "json", first)
    handler = logs.setup("info", "json", second)
    logging.getLogger("voxgate.x").error("text")
    assert handler.stream.drain(30)
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


# The rate limit


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_few_pass_and_the_others_are_counted():
    clock = Clock()
    limit = RateLimit(burst=3, interval_s=60, clock=clock)
    assert [limit.admit(record("failed: %d", n)) for n in range(10)] == [True] * 3 + [False] * 7
    clock.now_s += 59.999
    assert limit.due() == []
    assert limit.next_s == pytest.approx(0.001)
    clock.now_s += 0.001
    (summary,) = limit.due()
    assert summary.getMessage() == "7 more lines in 60 s like: failed: 0"
    assert (summary.name, summary.levelno, summary.levelname) == ("voxgate.x", logging.ERROR, "ERROR")
    assert limit.due() == []
    assert limit.next_s is None
    assert [limit.admit(record("failed: %d", n)) for n in range(4)] == [True] * 3 + [False]


def test_an_interval_without_anything_held_back_says_nothing():
    clock = Clock()
    limit = RateLimit(burst=3, clock=clock)
    assert limit.admit(record())
    assert limit.next_s is None
    clock.now_s += 60
    assert limit.due() == []


def test_what_is_of_another_kind_is_counted_for_itself():
    limit = RateLimit(burst=1, clock=Clock())
    here = raised(ValueError("1"))
    kinds = [
        record("a %d", 1),
        record("b %d", 1),
        record("a %d", 1, name="voxgate.y"),
        record("a %d", 1, level=logging.WARNING),
        record("a %d", 1, exc_info=here),
        record("a %d", 1, exc_info=raised(TypeError("1"))),
        record("%s", "no template"),
        record("%s", "at all"),
    ]
    assert all(limit.admit(kind) for kind in kinds)
    again = [record("a %d", 2), record("a %d", 2, exc_info=here), record("%s", "at all")]
    assert not any(limit.admit(kind) for kind in again)


def test_which_records_are_limited():
    limit = RateLimit(burst=0, clock=Clock())
    limit.admit(record("x"))

    def passes(level: int, name: str = "voxgate.x", **more: Any) -> bool:
        limit.admit(record("x", level=level, name=name, **more))
        return limit.admit(record("x", level=level, name=name, **more))

    assert passes(logging.DEBUG)
    assert not passes(logging.INFO)  # of ours: clients may cause them
    assert passes(logging.INFO, "others")
    assert not passes(logging.WARNING, "others")


def test_a_record_may_have_a_burst_of_its_own():
    clock = Clock()
    limit = RateLimit(burst=1, interval_s=60, clock=clock)
    assert [limit.admit(record("a", burst=3)) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [limit.admit(record("b")) for _ in range(2)] == [True, False]
    clock.now_s += 60
    assert [summary.getMessage() for summary in limit.due()] == [
        "2 more lines in 60 s like: a",
        "1 more line in 60 s like: b",
    ]


def test_nothing_of_a_record_is_kept_but_its_text():
    class Owner:
        """Whose frame the stack goes through."""

        def fail(self) -> NoReturn:
            raise ValueError

    owner = Owner()
    gone = weakref.ref(owner)
    limit = RateLimit()
    try:
        owner.fail()
    except ValueError:
        limit.admit(record("x", exc_info=sys.exc_info()))
    del owner
    assert gone() is None
    assert limit.next_s is None


def test_kinds_without_number_cost_bounded_memory_and_nothing_is_lost():
    limit = RateLimit(burst=1, max_kinds=10, clock=Clock())
    told = 0
    for n in range(1000):
        told += len(limit.due())
        assert limit.admit(record(f"kind {n}"))
        assert not limit.admit(record(f"kind {n}"))
    assert told + len(limit.rest()) == 1000


def test_the_end_sums_up():
    limit = RateLimit(burst=1, clock=Clock())
    for _ in range(5):
        limit.admit(record("x"))
    assert [summary.getMessage() for summary in limit.rest()] == ["4 more lines in 0 s like: x"]
    assert limit.rest() == []


def test_a_handler_sums_up_by_itself_when_nothing_more_is_logged():
    written = threading.Event()

    class Paper(io.StringIO):
        def write(self, text: str) -> int:
            if "more lines" in text:
                written.set()
            return super().write(text)

    handler = Handler(Paper(), RateLimit(burst=1, interval_s=0.01))
    with logs.about(LogContext("somebody")):
        for _ in range(3):
            handler.handle(record("x"))
    assert written.wait(30)
    handler.close()


def test_a_handler_sums_up_again_after_no_thread_could_be_started(monkeypatch: pytest.MonkeyPatch):
    out, clock = io.StringIO(), Clock()
    handler = Handler(out, RateLimit(burst=1, clock=clock))
    started: list[str] = []

    def no_room(target: Callable[[], object], name: str, **options: object) -> None:
        started.append(name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("voxgate.runtime.logs.spawn_thread", no_room)
    for _ in range(3):
        handler.handle(record("again"))
    assert started == ["voxgate-log-summaries"] * 2  # once for each line that was held back
    handler.close()


def test_a_handler_says_the_rest_at_the_end():
    out = io.StringIO()
    handler = Handler(out, RateLimit(burst=2))
    handler.setFormatter(JsonFormatter())
    for _ in range(5):
        handler.handle(record("x"))
    handler.close()
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == [
        "x",
        "x",
        "3 more lines in 0 s like: x",
    ]


# What the server logs of its sessions


class Lines(logging.Handler):
    """What the server logs, as JSON lines: formatted where it is logged, as in `serve`."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []
        self.more = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        line = json.loads(self.format(record))
        with self.more:
            self.lines.append(line)
            self.more.notify_all()

    def of(self, logger: str, n: int = 1) -> list[dict[str, Any]]:
        """Lines of this logger, once there are so many."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines if line["logger"] == logger]

        with self.more:
            assert self.more.wait_for(lambda: len(found()) >= n, 30), self.lines
            return found()


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("voxgate")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_one_line_when_a_session_is_over(serve, lines: Lines):
    server = serve()
    events = wire.stream(server.url(), wire.start(notices=True, trace_id=TRACEPARENT), SPEECH)
    (line,) = lines.of("voxgate.session")
    assert line.pop("time")
    assert line.pop("duration_s") >= 0
    assert line.pop("real_time_factor") >= 0
    assert line == {
        "level": "info",
        "logger": "voxgate.session",
        "message": "session over",
        "session": wire.of_type(events, "started")[0]["session_id"],
        "trace": TRACE,
        "route": "segmented",
        "wire": "native",
        "outcome": "finished",
        "received_s": 3.5,
        "processed_s": 3.5,
        "results": 1,
        "errors": 0,
        "most_lag_s": pytest.approx(1.6, abs=0.3),
        "client": "127.0.0.1",
    }


def test_a_session_that_the_end_of_the_server_cut_short(serve, patient_end, lines: Lines):
    server = serve(**{"server.drain_s": 0})
    with wire.Client(server.url()) as client:
        client.send(wire.start(notices=True), SPEECH)
        events = client.until("active")
        server.server.ask_to_end()
        assert wire.of_type(client.rest(), "segment")
    (line,) = lines.of("voxgate.session")
    assert line["session"] == wire.of_type(events, "started")[0]["session_id"]
    assert (line["outcome"], line["close_code"], line["errors"]) == ("closed", 1001, 0)


def test_each_session_of_a_connection_has_a_line_and_an_id(serve, lines: Lines):
    server = serve()
    with wire.Client(server.url("simple")) as client:
        client.send(wire.start(), bytes(3200), wire.PAUSE, wire.start(trace_id=TRACEPARENT), bytes(6400), wire.STOP)
        client.rest()
    first, second = lines.of("voxgate.session", 2)
    assert first["session"] != second["session"]
    assert ("trace" in first, second["trace"]) == (False, TRACE)
    assert (first["received_s"], second["received_s"]) == (0.1, 0.2)


@pytest.mark.parametrize("how", ["drain", "idle", "life"])
def test_the_line_names_the_session_whoever_ended_it(serve, lines: Lines, how: str):
    settings = {"drain": {}, "idle": {"limits.idle_timeout_s": 0.1}, "life": {"limits.session_s": 1}}
    server = serve(**settings[how])
    with wire.Client(server.url("simple")) as client:
        client.send(wire.start(notices=True))
        (started,) = client.until("started")
        if how == "drain":
            server.server.ask_to_end()
        client.rest()
    assert [line.get("session") for line in lines.of("voxgate.session")] == [started["session_id"]]


def test_no_number_of_connections_can_fill_the_log_with_sessions(serve, root: logging.Logger, monkeypatch):
    monkeypatch.setattr("voxgate.session.record.SESSION_LINES", 100)
    server, out = serve(), io.StringIO()
    handler = logs.setup("info", "json", out)
    for _ in range(4):
        with wire.Client(server.url("simple")) as client:
            client.send(*[wire.start()] * 50, wire.STOP)
            client.rest()
    handler.close()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    messages = [line["message"] for line in told if line["logger"] == "voxgate.session"]
    assert messages[:-1] == ["session over"] * 100
    assert re.fullmatch(r"100 more lines in \d+ s like: session over", messages[-1])


def test_the_outcome_says_who_ended_a_session(serve, lines: Lines):
    server = serve(**{"limits.invalid_messages": 1})
    with wire.Client(server.url("simple")) as client:
        client.send(wire.start(notices=True))
        client.until("started")
    with wire.Client(server.url("simple")) as client:
        client.send(wire.start(), "nonsense")
        client.rest()
    left, thrown_out = lines.of("voxgate.session", 2)
    assert left["outcome"] == "abandoned"
    assert "close_code" not in left
    assert (thrown_out["outcome"], thrown_out["close_code"]) == ("closed", 1008)


def test_what_a_model_does_wrong_is_logged_with_its_session(serve, lines: Lines):
    def break_down(audio):
        raise ValueError("out of luck")

    server = serve(break_down, **{"inference.warm_up": False})
    wire.stream(server.url("simple"), wire.start(trace_id=TRACEPARENT), bytes(3200))
    (over,) = lines.of("voxgate.session")
    (failure,) = lines.of("voxgate.inference.engine")
    assert failure["message"].endswith("failed")
    assert failure["exception"].endswith("ValueError: out of luck")
    assert (failure["session"], failure["trace"]) == (over["session"], TRACE)


def test_what_a_result_does_wrong_is_logged_with_its_session(serve, lines: Lines):
    server = serve(lambda audio: {"text": object()}, **{"inference.start_anyway": True})
    wire.stream(server.url("simple"), wire.start(trace_id=TRACEPARENT), bytes(3200))
    (over,) = lines.of("voxgate.session")
    *_, failure = lines.of("voxgate.inference.engine", 2)  # the first is that of the trial call
    assert "cannot be sent" in failure["message"]
    assert (failure["session"], failure["trace"]) == (over["session"], TRACE)


def test_between_sessions_lines_are_nobodys(serve, lines: Lines, monkeypatch: pytest.MonkeyPatch):
    from voxgate.protocol.machine import SessionMachine

    receive = SessionMachine.receive

    def receive_and_tell(self: SessionMachine, message: Any) -> Any:
        logging.getLogger("voxgate.x").debug("%s", message.__struct_config__.tag)
        return receive(self, message)

    monkeypatch.setattr(SessionMachine, "receive", receive_and_tell)
    server = serve()
    with wire.Client(server.url("simple")) as client:
        client.send(wire.KEEP_ALIVE, wire.start(), wire.FLUSH, wire.PAUSE, wire.KEEP_ALIVE, wire.STOP)
        client.rest()
    told = [(line["message"], "session" in line) for line in lines.of("voxgate.x", 6)]
    assert told == [
        ("keep_alive", False),
        ("start", False),
        ("flush", True),
        ("stop", True),
        ("keep_alive", False),
        ("stop", False),
    ]


def test_nothing_that_was_heard_said_or_secret_is_logged(serve, lines: Lines):
    server = serve(lambda audio: {"text": "a secret that was said"})
    with wire.Client(server.url()) as client:
        client.send(wire.start(token="s3cr3t"), SPEECH, {"request": "start", "token": ["s3cr3t"]}, wire.STOP)
        client.rest()
    lines.of("voxgate.session")
    assert "secret" not in repr(lines.lines)
    assert "s3cr3t" not in repr(lines.lines)


# The whole program


@pytest.mark.parametrize("isolation", ["threads", "process"])
def test_voxgate_serve_logs_json_lines(isolation: str, tmp_path):
    command = [sys.executable, "-m", "voxgate", "serve", "--port", "0", "--model", "dummy"]
    settings = {
        "vad.detector": "energy",
        "model.delay": 0,
        "model.constant_factor": 0,
        "model.jitter": 0,
        "model.warmup_penalty": 0,
        "model.failure_rate": 0,
        "model.panic_rate": 1,
        "inference.warm_up": "false",
        "inference.engine": isolation,
        "inference.processes": 1,
    }
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1].replace("http", "ws")
            with wire.Client(f"{url}/api/v1/simple") as client:
                client.send(wire.start(trace_id=TRACEPARENT), bytes(32_000), wire.STOP)
                client.rest()
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
    told = [json.loads(line) for line in errors.splitlines()]
    (over,) = [line for line in told if line["logger"] == "voxgate.session"]
    failures = [line for line in told if "exception" in line]
    assert failures
    assert {line["session"] for line in failures} == {over["session"]}
    assert {line["trace"] for line in failures} == {TRACE}
