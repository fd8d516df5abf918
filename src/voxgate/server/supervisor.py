"""Several server processes on one port: starts them, replaces those that die, and ends them together.

It is a small process that serves nobody itself and loads no model. Each server process opens a listening socket of its
own on the port (SO_REUSEPORT), which this one holds; the kernel deals out the connections.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from types import FrameType

import msgspec

from voxgate.config import Config
from voxgate.errors import ConfigError
from voxgate.runtime.backoff import Backoff
from voxgate.runtime.child import open_pidfd, start_python
from voxgate.server.sockets import reserve, url_of

logger = logging.getLogger("voxgate.server.supervisor")

# A process that dies is replaced after the first of these times, after twice as long when it dies again, and so on.
BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
# From then on a process has lived long enough for its death to be no sign of another.
SETTLED_S = 60.0
# So often within server.hang_timeout_s it is seen to who says nothing any more.
LOOKS = 10
# The server processes end by themselves within 0.8 s of the grace time.
GONE_S = 0.9


class Worker:
    """A server process, and the line to it."""

    def __init__(self, number: int, config: Config, directory: str, is_replacement: bool) -> None:
        """OSError when the system has no room for another process or file."""
        self.number = number
        self.began_s = time.monotonic()
        self.is_ready = False
        self.failed: str | None = None
        self.silent_s = 0.0
        """For so long nothing has come from it."""
        self.hung = False
        """Killed for that."""
        self._heard = b""
        with contextlib.ExitStack() as undo:
            self.line, theirs = socket.socketpair()
            undo.callback(self.line.close)
            self.line.setblocking(False)
            with theirs:
                arguments = {
                    "config": config,
                    "number": number,
                    "directory": directory,
                    "socket_fd": theirs.fileno(),
                    "is_replacement": is_replacement,
                }
                self._process = start_python("voxgate.server.worker", arguments, pass_fds=[theirs.fileno()])
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pid = self._process.pid
            self.pidfd = open_pidfd(self.pid)
            undo.pop_all()

    @property
    def watched(self) -> list[socket.socket | int]:
        """What turns readable when it says something, or ends."""
        return [self.line] if self.pidfd is None else [self.line, self.pidfd]

    def hear(self) -> bool:
        """Takes in what it says. False: its end is closed."""
        while True:
            try:
                data = self.line.recv(65_536)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                return False
            self.silent_s = 0.0
            *messages, self._heard = (self._heard + data).split(b"\n")
            for message in filter(None, messages):  # an empty one is a beat of its heart
                self.failed = json.loads(message)["failed"]
                self.is_ready = self.failed is None

    def drain(self) -> None:
        self._process.terminate()

    def kill_hung(self) -> None:
        self.hung = True
        self._process.kill()

    def end(self) -> int:
        """Its exit code; a process that is not gone by itself is ended."""
        self.hear()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._reap(1.0)
        self._process.kill()
        return self._reap(None)

    def kill(self) -> None:
        self._process.kill()
        self._reap(None)

    def _reap(self, timeout_s: float | None) -> int:
        code = self._process.wait(timeout_s)
        self.line.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        return code


class Supervisor:
    """Runs `config.server.workers` server processes until a signal ends it: ``Supervisor(config).run()``."""

    def __init__(self, config: Config) -> None:
        """ConfigError when the address cannot be had."""
        self._held = [reserve(config.server)]
        server = msgspec.structs.replace(config.server, port=self._held[0].getsockname()[1])
        metrics = config.metrics
        if metrics.port is not None:
            self._held.append(reserve(msgspec.structs.replace(config.server, port=metrics.port)))
            metrics = msgspec.structs.replace(metrics, port=self._held[1].getsockname()[1])
        self._config = msgspec.structs.replace(config, server=server, metrics=metrics)
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, Worker] = {}
        self._due_s: dict[int, float] = {}  # when the process of that number is started again
        self._backoffs = {number: Backoff(BACKOFF_S, MAX_BACKOFF_S) for number in range(server.workers)}
        self._hang_timeout_s = server.hang_timeout_s or math.inf
        self._look_s = self._hang_timeout_s / LOOKS
        self._looked_s = time.monotonic()
        self._is_up = False  # all of them have been ready
        self._end_s = math.inf
        self._signals: list[int] = []

    def run(self) -> int:
        """The exit code. ConfigError when the processes cannot start, with what the first of them says."""
        with _directory() as directory, self._watch_signals():
            try:
                for number in self._backoffs:
                    self._start(number, directory)
                return self._supervise(directory)
            finally:
                for worker in self._workers.values():
                    worker.kill()
                for sock in self._held:
                    sock.close()

    def _supervise(self, directory: str) -> int:
        while self._workers or self._due_s:
            next_s = min([self._end_s, self._looked_s + self._look_s, *self._due_s.values()])
            ready = self._selector.select(None if next_s == math.inf else max(0.0, next_s - time.monotonic()))
            for key, _ in ready:
                if key.data is None:
                    self._wakeup.recv(65_536)
                    continue
                worker: Worker = key.data
                is_known = worker in self._workers.values()  # its end may have been seen at another file
                if is_known and (not worker.hear() or key.fileobj == worker.pidfd):
                    self._ended(worker)
            while self._signals:
                number = self._signals.pop(0)
                if self._end_s < math.inf:
                    return 128 + number
                self._drain()
            if not self._is_up and self._end_s == math.inf:
                self._check_start()
            now_s = time.monotonic()
            if now_s >= self._end_s:
                break
            self._look(now_s)
            for number in [number for number, due_s in self._due_s.items() if due_s <= now_s]:
                del self._due_s[number]
                self._start(number, directory)
        return 0

    def _start(self, number: int, directory: str) -> None:
        try:
            worker = Worker(number, self._config, directory, is_replacement=self._is_up)
        except OSError as error:
            what = f"server process {number} cannot be started: {error.strerror or error}"
            if not self._is_up:
                raise ConfigError(what) from error
            self._start_later(number, what)  # the others serve on
            return
        self._workers[number] = worker
        for watched in worker.watched:
            self._selector.register(watched, selectors.EVENT_READ, worker)

    def _look(self, now_s: float) -> None:
        """Kills the processes that have not said anything for too long. Time in which this process did not run either
        (it was stopped, or the machine) counts as one look.
        """
        elapsed_s, self._looked_s = min(now_s - self._looked_s, self._look_s), now_s
        for worker in self._workers.values():
            worker.silent_s += elapsed_s
            if worker.silent_s >= self._hang_timeout_s and not worker.hung and self._end_s == math.inf:
                worker.kill_hung()  # its end is seen like any other

    def _check_start(self) -> None:
        workers = self._workers.values()
        for worker in workers:
            if worker.failed is not None:
                raise ConfigError(worker.failed)
        if len(workers) == len(self._backoffs) and all(worker.is_ready for worker in workers):
            self._is_up = True
            scheme = "https" if self._config.server.tls_certificate is not None else "http"
            for sock in self._held[1:]:
                logger.info("metrics at %s/metrics", url_of(sock, scheme))
            print(f"voxgate listening on {url_of(self._held[0], scheme)}", flush=True)

    def _ended(self, worker: Worker) -> None:
        for watched in worker.watched:
            self._selector.unregister(watched)
        del self._workers[worker.number]
        code = worker.end()
        if worker.hung:
            how = f"was killed: it gave no sign of life for {self._hang_timeout_s:g} s (server.hang_timeout_s)"
        else:
            how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if self._end_s < math.inf:
            return
        if not self._is_up:
            raise ConfigError(worker.failed or f"server process {worker.number} {how} before it was ready")
        if time.monotonic() - worker.began_s >= SETTLED_S:
            self._backoffs[worker.number].reset()
        why = "" if worker.failed is None else f" ({worker.failed})"
        self._start_later(worker.number, f"server process {worker.number} (pid {worker.pid}) {how}{why}")

    def _start_later(self, number: int, what: str) -> None:
        wait_s = self._backoffs[number].next_s()
        logger.error("%s: another one is started in %g s", what, wait_s)
        self._due_s[number] = time.monotonic() + wait_s

    def _drain(self) -> None:
        self._end_s = time.monotonic() + self._config.server.drain_s + GONE_S
        self._due_s.clear()
        for worker in self._workers.values():
            worker.drain()
        logger.info(
            "asked to end: so are %d server processes; a second signal (Ctrl-C) ends at once", len(self._workers)
        )

    @contextlib.contextmanager
    def _watch_signals(self) -> Iterator[None]:
        """Signals are remembered, and wake the selector."""
        self._wakeup, written = socket.socketpair()
        for sock in (self._wakeup, written):
            sock.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        before_fd = signal.set_wakeup_fd(written.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            self._wakeup.close()
            written.close()


def _directory() -> tempfile.TemporaryDirectory[str]:
    """Where the processes meet. ConfigError when there is no place for it."""
    try:
        return tempfile.TemporaryDirectory(prefix="voxgate-")
    except OSError as error:
        raise ConfigError(
            f"server.workers above 1 needs a directory for temporary files ({error}): TMPDIR may name one"
        ) from error


def supervise(config: Config, on_watching: Callable[[], None] = lambda: None) -> int:
    """Serves with several processes until a signal ends it; the exit code. ConfigError as `Supervisor` has them.

    on_watching: called right before signals are taken over.
    """
    supervisor = Supervisor(config)
    on_watching()
    return supervisor.run()
