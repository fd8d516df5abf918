"""Several server processes on one port: starts them, replaces those that die, and ends them together.

The supervisor is a small process that serves no client and loads no model. It reserves the port, on which each server
process opens a listening socket of its own (SO_REUSEPORT); the kernel distributes the connections.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from types import FrameType

import msgspec

from voxgate.config import Config
from voxgate.endpoints.grpc.needs import check_installed
from voxgate.errors import ConfigError
from voxgate.runtime.backoff import Backoff
from voxgate.server.next_steps import next_steps
from voxgate.server.server_process import ServerProcess
from voxgate.server.sockets import reserve, start_line, url_of

logger = logging.getLogger(__name__)

# A process that dies is replaced after BACKOFF_S, after twice as long when it dies again, and so on.
BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
# A process that has lived this long is replaced after BACKOFF_S again.
SETTLED_S = 60.0
# How often within server.hang_timeout_s the supervisor looks for silent processes.
LOOKS = 10
# The server processes end by themselves within 0.8 s of the grace time.
GONE_S = 0.9


class Supervisor:
    """Runs `config.server.workers` server processes until a signal ends it: ``Supervisor(config).run()``."""

    def __init__(self, config: Config) -> None:
        """ConfigError when the address cannot be used."""
        self._reserved = [reserve(config.server)]
        server = msgspec.structs.replace(config.server, port=self._reserved[0].getsockname()[1])
        metrics = config.metrics
        if metrics.port is not None:
            self._reserved.append(reserve(msgspec.structs.replace(config.server, port=metrics.port)))
            metrics = msgspec.structs.replace(metrics, port=self._reserved[1].getsockname()[1])
        grpc = config.grpc
        if grpc.port is not None:
            check_installed()
            self._reserved.append(reserve(msgspec.structs.replace(config.server, port=grpc.port)))
            grpc = msgspec.structs.replace(grpc, port=self._reserved[-1].getsockname()[1])
        self._config = msgspec.structs.replace(config, server=server, metrics=metrics, grpc=grpc)
        self._selector = selectors.DefaultSelector()
        self._processes: dict[int, ServerProcess] = {}
        self._due_s: dict[int, float] = {}  # when to start the process of that number again
        self._backoffs = {number: Backoff(BACKOFF_S, MAX_BACKOFF_S) for number in range(server.workers)}
        self._hang_timeout_s = server.hang_timeout_s or math.inf
        self._look_interval_s = self._hang_timeout_s / LOOKS
        self._last_look_s = time.monotonic()
        self._is_up = False  # all processes have been ready at once
        self._end_s = math.inf
        self._signals: list[int] = []

    def run(self) -> int:
        """Returns the exit code. ConfigError when the processes cannot start, with the reason of the first failure."""
        with _directory() as directory, self._watch_signals():
            try:
                for number in self._backoffs:
                    self._start(number, directory)
                return self._supervise(directory)
            finally:
                for process in self._processes.values():
                    process.kill()
                for sock in self._reserved:
                    sock.close()

    def _supervise(self, directory: str) -> int:
        while self._processes or self._due_s:
            next_s = min([self._end_s, self._last_look_s + self._look_interval_s, *self._due_s.values()])
            ready = self._selector.select(None if next_s == math.inf else max(0.0, next_s - time.monotonic()))
            for key, _ in ready:
                if key.data is None:
                    self._wakeup.recv(65_536)
                    continue
                process: ServerProcess = key.data
                is_known = process in self._processes.values()  # its other file may have shown its end already
                if is_known and (not process.receive() or key.fileobj == process.pidfd):
                    self._replace(process)
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
            process = ServerProcess(number, self._config, directory, is_replacement=self._is_up)
        except OSError as error:
            what = f"server process {number} cannot be started: {error.strerror or error}"
            if not self._is_up:
                raise ConfigError(what) from error
            self._start_later(number, what)  # the other processes continue to serve
            return
        self._processes[number] = process
        for watched in process.watched:
            self._selector.register(watched, selectors.EVENT_READ, process)

    def _look(self, now_s: float) -> None:
        """Kills the processes that have been silent for too long. Time in which this process did not run itself (it was
        stopped, or the machine was) counts as one interval.
        """
        elapsed_s, self._last_look_s = min(now_s - self._last_look_s, self._look_interval_s), now_s
        for process in self._processes.values():
            process.silent_s += elapsed_s
            if process.silent_s >= self._hang_timeout_s and not process.is_hung and self._end_s == math.inf:
                process.kill_hung()

    def _check_start(self) -> None:
        processes = self._processes.values()
        for process in processes:
            if process.failure is not None:
                raise ConfigError(process.failure)
        if len(processes) == len(self._backoffs) and all(process.is_ready for process in processes):
            self._is_up = True
            scheme = "https" if self._config.server.tls_certificate is not None else "http"
            if self._config.metrics.port is not None:
                logger.info("metrics at %s/metrics", url_of(self._reserved[1], scheme))
            lines = next_steps(url_of(self._reserved[0], scheme), self._config, None)
            print(f"{start_line(self._reserved[0], self._config, self._config.grpc.port)}\n{lines}", flush=True)

    def _replace(self, process: ServerProcess) -> None:
        """The process ends, or has ended."""
        for watched in process.watched:
            self._selector.unregister(watched)
        del self._processes[process.number]
        code = process.reap()
        if process.is_hung:
            how = f"was killed: it gave no sign of life for {self._hang_timeout_s:g} s (server.hang_timeout_s)"
        else:
            how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if self._end_s < math.inf:
            return
        if not self._is_up:
            raise ConfigError(process.failure or f"server process {process.number} {how} before it was ready")
        if time.monotonic() - process.started_s >= SETTLED_S:
            self._backoffs[process.number].reset()
        why = "" if process.failure is None else f" ({process.failure})"
        self._start_later(process.number, f"server process {process.number} (pid {process.pid}) {how}{why}")

    def _start_later(self, number: int, what: str) -> None:
        wait_s = self._backoffs[number].next_s()
        logger.error("%s: starting another one in %g s", what, wait_s)
        self._due_s[number] = time.monotonic() + wait_s

    def _drain(self) -> None:
        self._end_s = time.monotonic() + self._config.server.drain_s + GONE_S
        self._due_s.clear()
        for process in self._processes.values():
            process.drain()
        logger.info("draining %d server processes; a second signal (Ctrl-C) ends them at once", len(self._processes))

    @contextlib.contextmanager
    def _watch_signals(self) -> Iterator[None]:
        """Collects signals, each of which wakes the selector."""
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
    """For the sockets of the processes (`Peers`). ConfigError when there is no place for it."""
    try:
        return tempfile.TemporaryDirectory(prefix="voxgate-")
    except OSError as error:
        raise ConfigError(
            f"server.workers above 1 needs a directory for temporary files ({error}): set TMPDIR"
        ) from error


def supervise(config: Config, on_watching: Callable[[], None] = lambda: None) -> int:
    """Serves with several processes until a signal ends them; returns the exit code. ConfigError as `Supervisor` raises
    them.

    on_watching: called right before the supervisor handles signals.
    """
    supervisor = Supervisor(config)
    on_watching()
    return supervisor.run()
