"""A Ray cluster of several nodes on this machine, for tests, benchmarks and the demo.

It runs in a process of its own, which ends with its parent and takes all its nodes with it. Ray binds and probes the
machine's interfaces, so the program that uses it belongs into a network namespace of its own: `in_own_network`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["LocalCluster", "deploy", "in_own_network", "own_network_command"]

_MARK = "OWN_NETWORK"
ROOT = Path(__file__).parents[1]
PORT = 6379
CLIENT_PORT = 10001
STORE_BYTES = 80_000_000
_PATIENT = {"RAY_raylet_start_wait_time_s": "300"}
"""A node starts late on a busy machine."""


def in_own_network() -> bool:
    """Whether `own_network_command` started this program."""
    return _MARK in os.environ


def own_network_command(command: Sequence[str]) -> list[str] | None:
    """`command`, in a network namespace that has a loopback alone. None: this system cannot make one."""
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        whole = [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if (
            shutil.which(unshare[0])
            and subprocess.run([*whole, "true"], capture_output=True, check=False).returncode == 0
        ):
            return [*whole, "env", f"{_MARK}=1", *command]
    return None


class LocalCluster:
    """Node 0 is the head. One thread."""

    def __init__(
        self, cpus: Sequence[float] = (1, 1), environment: dict[str, str] | None = None, for_clients: bool = False
    ) -> None:
        """Starts a node with each of these numbers of CPUs. `for_clients`: the head also takes Ray clients, on
        `CLIENT_PORT`. Raises RuntimeError.
        """
        self._directory = tempfile.mkdtemp(prefix="vgray-", dir="/tmp")  # Ray's socket paths must be short.
        with (Path(self._directory) / "nodes.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "RAY_TMPDIR": self._directory, **_PATIENT, **(environment or {})},
                start_new_session=True,
            )
        self.address = f"127.0.0.1:{PORT}"
        try:
            first, *others = cpus
            self.nodes = [int(self._ask("add_for_clients", first)) if for_clients else self.add(first)]
            self.nodes += [self.add(n_cpus) for n_cpus in others]
        except BaseException:
            self.close()
            raise

    def add(self, n_cpus: float) -> int:
        """Starts a node (the head, when there is none), and returns its number."""
        return int(self._ask("add", n_cpus))

    def kill(self, node: int) -> None:
        """Ends a node with everything on it, without warning."""
        self._ask("kill", node)

    def kill_gcs(self) -> None:
        """Ends the head's control service alone."""
        self._ask("kill_gcs", 0)

    def start_gcs(self) -> None:
        self._ask("start_gcs", 0)

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # What a node left behind that did not start.
            os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, verb: str, value: float) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, value]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else "the process of the nodes ended"
        if isinstance(answer, str):
            log = (Path(self._directory) / "nodes.log").read_text()
            raise RuntimeError(f"{verb} {value:g}: {answer}\n{log[-2000:]}")
        return answer


def deploy(model: str, *more: str, address: str = f"127.0.0.1:{PORT}") -> None:
    """`voxgate deploy`. Raises RuntimeError."""
    command = [sys.executable, "-m", "voxgate", "deploy", "--model", model, "--address", address, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _serve_parent() -> None:
    """The process of the nodes: obeys its standard input until that ends."""
    from ray.cluster_utils import Cluster

    with _answers_to_stdout() as answers:
        cluster = Cluster(initialize_head=False, shutdown_at_exit=False)
        nodes: list[Any] = []
        try:
            for line in sys.stdin:
                verb, value = json.loads(line)
                try:
                    result = _obey(cluster, nodes, verb, value)
                except Exception as error:
                    result = f"{type(error).__name__}: {error}"
                print(json.dumps(result), file=answers, flush=True)
        finally:
            for node in reversed(nodes):
                if node is not None:
                    node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def _obey(cluster: Any, nodes: list[Any], verb: str, value: float) -> Any:
    if verb in ("add", "add_for_clients"):
        more: dict[str, Any] = {} if cluster.head_node else {"include_dashboard": False, "gcs_server_port": PORT}
        if verb == "add_for_clients":
            more["ray_client_server_port"] = CLIENT_PORT
        nodes.append(cluster.add_node(num_cpus=value, object_store_memory=STORE_BYTES, **more))
        return len(nodes) - 1
    if verb == "kill":
        node, nodes[int(value)] = nodes[int(value)], None
        cluster.remove_node(node, allow_graceful=False)
    elif verb == "kill_gcs":
        cluster.head_node.kill_gcs_server(check_alive=False)
    elif verb == "start_gcs":
        cluster.head_node.start_gcs_server()
    else:
        raise ValueError(verb)
    return 0


@contextlib.contextmanager
def _answers_to_stdout() -> Iterator[Any]:
    """The pipe to the parent; what Ray prints goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        yield answers


def _main() -> int:
    """``python -m tools.ray_nodes COMMAND ...``: runs a command in a network of its own. Without one: the nodes."""
    if len(sys.argv) == 1:
        _serve_parent()
        return 0
    command = own_network_command(sys.argv[1:])
    if command is None:
        print(
            "this needs a network namespace of its own: unshare (util-linux) and the right to use it", file=sys.stderr
        )
        return 1
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(_main())
