"""Several server processes on one port: who serves, who dies, and how all of them end."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from websockets.exceptions import WebSocketException

from helpers.wire import PAUSE, Client, bursts, encode, start, stream
from voxgate.config import load_config
from voxgate.errors import ConfigError
from voxgate.server.supervisor import Supervisor

SPEECH = encode(bursts((0.5, 2.0), length_s=2.0))
MODEL = """
import os, time
import voxgate

def pid(audio):
    return {"pid": os.getpid()}

def stuck(audio):
    time.sleep(3600)

class Broken(voxgate.Model):
    def warm_up(self):
        raise OSError("weights are missing")
    def infer(self, audio):
        return {}

class Crashing(voxgate.Model):
    def warm_up(self):
        os._exit(7)
    def infer(self, audio):
        return {}
"""


def command(*arguments: str) -> list[str]:
    fixed = ["--port", "0", "--workers", "2", "--set", "vad.detector=energy", "--set", "inference.warm_up=true"]
    return [sys.executable, "-m", "voxgate", "serve", *fixed, *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")}


@pytest.fixture
def servers(tmp_path):
    """``servers("--model", ...)``: the processes, and the address they serve."""
    (tmp_path / "mymodel.py").write_text(MODEL)
    started = []

    def run(*arguments: str, model: str = "pid") -> tuple[subprocess.Popen[str], str]:
        child = subprocess.Popen(
            command("--model", f"mymodel:{model}", *arguments),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        line = child.stdout.readline()
        match = re.fullmatch(r"voxgate listening on http://(127\.0\.0\.1:\d+)\n", line)
        assert match, (line, child.stderr.read())
        return child, match[1]

    yield run
    for child in started:
        child.kill()
        child.communicate()


def pid_of(address: str) -> int:
    """The process that a new connection comes to."""
    return stream(f"ws://{address}/api/v1/simple", start(), bytes(3200))[0]["pid"]


def all_pids(address: str) -> set[int]:
    pids: set[int] = set()
    while len(pids) < 2:  # the kernel deals them out by the client's port
        pids.add(pid_of(address))
    return pids


def test_all_processes_serve_one_port_and_one_line_says_so(servers):
    child, address = servers()
    assert child.pid not in all_pids(address)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    assert "listening" not in child.stdout.read()


def test_with_the_scope_of_the_host_all_processes_count_together(servers):
    limits = ("--set", "limits.scope=host", "--set", "limits.streams_per_address=2")
    _, address = servers(*limits)
    all_pids(address)
    url = f"ws://{address}/api/v1/simple"
    with Client(url), Client(url):
        for _ in range(12):  # The kernel deals them out to both processes.
            with pytest.raises(WebSocketException, match="429"):
                Client(url)


def test_one_that_dies_is_replaced(servers):
    _, address = servers()
    before = all_pids(address)
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    pids: set[int] = set()
    while not pids - before - {victim}:
        with contextlib.suppress(OSError, WebSocketException):  # it came to the one that had just died
            pids.add(pid_of(address))
    assert all_pids(address) == before | pids - {victim}


def wait_for_line(child: subprocess.Popen[str], text: str) -> str:
    for line in child.stderr:
        if text in line:
            return line
    raise AssertionError(f"it ended, and never said {text!r}")


def test_one_that_hangs_is_killed_and_replaced(servers):
    child, address = servers("--set", "server.hang_timeout_s=10")
    before = all_pids(address)
    victim = before.pop()
    os.kill(victim, signal.SIGSTOP)
    line = wait_for_line(child, "no sign of life")
    assert f"(pid {victim}) was killed: it gave no sign of life for 10 s (server.hang_timeout_s)" in line
    after = all_pids(address)
    assert len(after) == 2
    assert before < after
    assert victim not in after
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0


class Silent:
    """A server process as the supervisor sees it, which never says anything."""

    is_hung, silent_s = False, 0.0

    def kill_hung(self) -> None:
        self.is_hung = True


@pytest.fixture
def supervisor():
    made = Supervisor(load_config(environ={}, overrides={"server.port": 0, "server.workers": 2}))
    yield made
    for sock in made._reserved:
        sock.close()
    made._selector.close()


def test_one_that_dies_is_seen_though_a_child_of_its_holds_the_line(supervisor, monkeypatch, caplog):
    def dies(module: str, arguments: object, pass_fds: list[int]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sh", "-c", "sleep 3600 & kill -9 $$"], pass_fds=pass_fds, start_new_session=True)

    monkeypatch.setattr("voxgate.server.server_process.start_python", dies)
    supervisor._is_up = True
    supervisor._start(0, "")
    worker = supervisor._processes[0]
    try:
        assert [key.fileobj for key, _ in supervisor._selector.select(30)] == [worker.pidfd]
        supervisor._replace(worker)
        assert "ended by signal 9: starting another one in 0.1 s" in caplog.text
    finally:
        os.killpg(worker.pid, signal.SIGKILL)


def test_time_in_which_the_supervisor_was_stopped_counts_as_one_look(supervisor):
    worker = Silent()
    supervisor._processes[0] = worker
    now_s = supervisor._last_look_s
    for elapsed_s in (3600.0, *[6.0] * 8, 5.5):  # the default: 60 s, and so a look every 6
        now_s += elapsed_s
        supervisor._look(now_s)
        assert not worker.is_hung
    supervisor._look(now_s + 0.5)
    assert worker.is_hung


def test_what_is_heard_begins_its_time_anew_and_without_a_timeout_there_is_none(supervisor):
    heard, silent = Silent(), Silent()
    supervisor._processes = {0: heard, 1: silent}
    for _ in range(9):
        supervisor._look(supervisor._last_look_s + 6.0)
    heard.silent_s = 0.0
    supervisor._look(supervisor._last_look_s + 6.0)
    assert (heard.is_hung, silent.is_hung) == (False, True)
    supervisor._hang_timeout_s = supervisor._look_interval_s = math.inf
    supervisor._look(supervisor._last_look_s + 1e6)
    assert not heard.is_hung


def test_metrics_of_all_are_had_from_any(servers):
    _, address = servers()
    all_pids(address)
    for _ in range(4):
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as response:
            text = response.read().decode()
        assert set(re.findall(r'voxgate_ready\{worker="(\d)"\} 1', text)) == {"0", "1"}


def refused(folder, *arguments):
    """A server that does not start."""
    ended = subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    return ended


@pytest.mark.parametrize(("model", "text"), [("Broken", "weights are missing"), ("Crashing", "ended with exit code 7")])
def test_what_keeps_them_from_starting_is_said_once(tmp_path, model, text):
    (tmp_path / "mymodel.py").write_text(MODEL)
    ended = refused(tmp_path, "--model", f"mymodel:{model}")
    assert ended.stdout == ""
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("voxgate: ")]
    assert text in line


def test_an_address_that_is_taken(servers, tmp_path):
    _, address = servers()
    port = address.split(":")[1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        for taken in (port, str(other.getsockname()[1])):  # by processes that share it, and by one that does not
            ended = refused(tmp_path, "--model", "mymodel:pid", "--port", taken)
            assert f"cannot listen on 127.0.0.1:{taken}" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_all(servers, number):
    child, address = servers("--drain", "60")
    url = f"ws://{address}/api/v1/segmented"
    with Client(url) as one, Client(url) as other:
        for client in (one, other):
            client.send(start(notices=True), SPEECH)
            client.until("active")
        child.send_signal(number)
        for client in (one, other):
            client.until("draining")
            client.send(SPEECH, PAUSE)
            assert [event["type"] for event in client.rest()][-3:] == ["inactive", "segment", "finished"]
            assert client.close_code == 1001
        assert child.wait(30) == 0


def test_ctrl_c_reaches_all_processes_and_is_heard_once(tmp_path):
    """A terminal sends it to the whole group."""
    (tmp_path / "mymodel.py").write_text(MODEL)
    with subprocess.Popen(
        command("--model", "mymodel:pid", "--drain", "60"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1].replace("http", "ws")
        with Client(f"{url}/api/v1/segmented") as client:
            client.send(start(notices=True), SPEECH)
            client.until("active")
            os.killpg(child.pid, signal.SIGINT)
            client.until("draining")
            client.send(PAUSE)
            assert client.rest()[-1]["type"] == "finished"
        assert child.wait(30) == 0


def test_a_model_that_never_returns_keeps_nobody(servers, patient_end):
    child, address = servers("--drain", "0.2", "--set", "inference.warm_up=false", model="stuck")
    with Client(f"ws://{address}/api/v1/simple") as client:
        client.send(start(notices=True), SPEECH)
        client.until("started")
        child.send_signal(signal.SIGTERM)
        client.rest()
        assert client.close_code == 1001
        assert child.wait(30) == 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_all_at_once(servers, number, code):
    child, address = servers("--drain", "3600")
    pids = all_pids(address)
    with Client(f"ws://{address}/api/v1/segmented") as client:
        client.send(start(notices=True))
        client.until("started")
        child.send_signal(number)
        client.until("draining")
        child.send_signal(number)
        assert child.wait(30) == code
    assert not any(map(is_alive, pids))


def test_processes_without_their_supervisor_end_themselves(servers, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    child, address = servers()
    assert list((tmp_path / "temporary").iterdir())
    pids = all_pids(address)
    child.kill()
    child.wait(30)
    while any(map(is_alive, pids)):
        pass
    assert not list((tmp_path / "temporary").iterdir())


def test_no_room_for_another_process_harms_nobody_who_serves(monkeypatch, caplog):
    """Neither the start of the first ones, which says so, nor that of one which replaces another."""

    def popen(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", popen)
    config = load_config(environ={}, overrides={"server.port": 0, "server.workers": 2})
    with pytest.raises(ConfigError, match="server process 0 cannot be started: Resource temporarily unavailable"):
        Supervisor(config).run()
    supervisor = Supervisor(config)
    supervisor._is_up = True
    supervisor._start(1, "")
    supervisor._start(1, "")
    assert supervisor._due_s.keys() == {1}
    assert "starting another one in 0.2 s" in caplog.text
    for sock in supervisor._reserved:
        sock.close()
    supervisor._selector.close()


def test_no_place_for_temporary_files_is_said(monkeypatch):
    def no_place(**options: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("voxgate.server.supervisor.tempfile.TemporaryDirectory", no_place)
    config = load_config(environ={}, overrides={"server.port": 0, "server.workers": 2})
    supervisor = Supervisor(config)
    with pytest.raises(ConfigError, match=r"No usable temporary directory found\): set TMPDIR$"):
        supervisor.run()
    for sock in supervisor._reserved:
        sock.close()
    supervisor._selector.close()


def test_the_supervisor_imports_no_server():
    """It serves nobody, and what it imports is memory beside the server processes."""
    code = "import sys, voxgate.server.supervisor; print(*{name.partition('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"uvicorn", "starlette", "uvloop", "websockets", "numpy"} & set(ended.stdout.split()) == set()
