"""`voxgate_client`, generated from the source: it works without NumPy, and on a platform that is not POSIX."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from voxgate import __version__, client, recordings

ROOT = Path(__file__).parents[2]
DISTRIBUTION = ROOT / "clients" / "python"
# What other platforms lack, what the distribution does not require, and Voxgate itself.
MISSING = (
    *("fcntl", "grp", "pwd", "resource", "termios", "uvloop"),
    *("numpy", "soundfile", "numba", "soxr", "starlette", "uvicorn", "prometheus_client", "voxgate"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated")
    subprocess.run([sys.executable, DISTRIBUTION / "generate.py", directory], check=True, stdout=subprocess.DEVNULL)
    return directory


def run(
    place: Path, program: str, *arguments: str, missing: tuple[str, ...] = MISSING
) -> subprocess.CompletedProcess[str]:
    """Runs a program where modules are missing."""
    (place / "program.py").write_text(f"import sys\nfor name in {missing!r}: sys.modules[name] = None\n{program}")
    return subprocess.run(
        [sys.executable, place / "program.py", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(place)},
    )


COMMAND = "from voxgate_client.cli import main\nraise SystemExit(main())"


def test_no_module_of_it_names_voxgate(place: Path) -> None:
    for path in place.rglob("*.py"):
        if path.name == "program.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] != "voxgate", path
            elif isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] != "voxgate" for alias in node.names), path


def test_it_has_the_names_and_the_version_of_the_whole_package(place: Path) -> None:
    done = run(place, "import voxgate_client as c, json\nprint(json.dumps([c.__version__, c.__all__]))")
    assert done.stderr == ""
    version, names = json.loads(done.stdout)
    assert version == __version__
    assert names == [*client.__all__, "__version__"]


BESIDE = """
import json, pickle, {first}, {second}
import voxgate.client as whole, voxgate_client as light
import voxgate.protocol.events, voxgate_client.protocol.events, voxgate_client.cli
same = [name for name in whole.__all__ if getattr(light, name) is getattr(whole, name)]
format = light.AudioFormat(1, 16_000, 16, False)
print(json.dumps([
    light.__version__,
    len(same) == len(whole.__all__),
    len(same) == 0,
    voxgate_client.protocol.events is voxgate.protocol.events,
    voxgate.protocol.events.__spec__.name,
    light.AudioFormat.__module__.partition(".")[0],
    pickle.loads(pickle.dumps(format)) == format,
    voxgate_client.cli.main.__module__,
]))
"""


@pytest.mark.parametrize("order", [("voxgate.client", "voxgate_client"), ("voxgate_client", "voxgate.client")])
@pytest.mark.parametrize("version", [__version__, "0.1.9"])
def test_beside_voxgate_of_the_same_version_a_class_has_one_home(
    place: Path, tmp_path: Path, order: tuple[str, str], version: str
) -> None:
    shutil.copytree(place / "voxgate_client", tmp_path / "voxgate_client")
    init = tmp_path / "voxgate_client" / "__init__.py"
    init.write_text(init.read_text().replace(f'__version__ = "{__version__}"', f'__version__ = "{version}"'))
    done = run(tmp_path, BESIDE.format(first=order[0], second=order[1]), missing=())
    assert done.stderr == ""
    found, all_same, none_same, same_module, spec, home, pickles, command = json.loads(done.stdout)
    assert (found, spec, pickles, command) == (version, "voxgate.protocol.events", True, "voxgate_client.cli")
    is_same = version == __version__
    assert (all_same, none_same, same_module) == (is_same, not is_same, is_same)
    assert home == ("voxgate" if is_same else "voxgate_client")


def test_beside_voxgate_it_has_no_module_that_is_not_there(place: Path) -> None:
    program = """
from importlib.util import find_spec
import voxgate_client.protocol
names = ("nothing", "__main__", "protocol.nothing", "protocol.events")
print([find_spec(f"voxgate_client.{name}") is not None for name in names])
"""
    done = run(place, program, missing=())
    assert (done.stderr, done.stdout) == ("", "[False, False, False, True]\n")


def test_raw_pcm_needs_neither_numpy_nor_posix(place: Path, serve) -> None:
    program = """
from voxgate_client import AudioFormat, collect
events = collect(bytes(32_000), addr=sys.argv[1], format=AudioFormat(1, 16_000, 16, False))
print(sum(event.end_time - event.start_time for event in events))
"""
    done = run(place, program, serve().url("simple"))
    assert (done.stderr, done.stdout) == ("", "1.0\n")


def test_the_command_sends_a_file_as_it_is(place: Path, serve) -> None:
    server = serve()
    done = run(place, COMMAND, "telephone", "--addr", server.url("simple"), "--format", "jsonl")
    assert (done.returncode, done.stderr.splitlines()[-1][:14]) == (0, "first message ")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["end_time"] == pytest.approx(client.stream(recordings.path("telephone")).duration_s, abs=0.001)


def test_a_file_that_has_to_be_decoded_here_names_the_extra(place: Path) -> None:
    program = """
from voxgate_client import AudioFormat, SourceError, stream
try:
    stream(sys.argv[1], format=AudioFormat(1, 8_000, 16, False))
except SourceError as error:
    print(error)
"""
    done = run(place, program, str(recordings.path("telephone")))
    assert done.stdout == "reading sound files needs numpy: pip install 'voxgate-client[files]'\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, f"voxgate-client {__version__}\n"),
        (["--help"], 0, "usage: voxgate-client "),
        (["demo", "--plot", "a.png"], 2, "voxgate client: --plot is an option of the whole package"),
        (["demo", "--speed", "8"], 2, "voxgate-client: error: unrecognized arguments: --speed 8"),
    ],
)
def test_the_command_line(place: Path, arguments: list[str], code: int, text: str) -> None:
    done = run(place, COMMAND, *arguments)
    assert done.returncode == code
    assert text in done.stdout + done.stderr


def test_the_distribution_requires_no_compiled_package_but_msgspec() -> None:
    project = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text())["project"]
    assert [one.partition(">")[0] for one in project["dependencies"]] == ["msgspec", "websockets"]
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(project["dependencies"]) <= set(whole)


def test_the_level_of_the_audio_is_that_of_the_whole_package(place: Path) -> None:
    program = """
import array, json, math
from voxgate_client.protocol.formats import AudioFormat
from voxgate_client.cli.meter import Meter
samples = array.array("h", [round(8000 * math.sin(i / 9)) if i % 2 else 4000 for i in range(32_000)])
meter = Meter(AudioFormat(2, 16_000, 16, False))
data = memoryview(samples.tobytes())
for at in range(0, len(data), 999):
    meter.take(data[at:at + 999])
print(json.dumps(meter.levels_dbfs()))
"""
    levels = json.loads(run(place, program).stdout)
    other = program.replace("voxgate_client", "voxgate")
    whole = json.loads(run(place, other, missing=()).stdout)
    assert levels == pytest.approx(whole, abs=1e-6)
