"""Runs the server and client tests against the oldest and the newest versions that pyproject.toml allows.

    python tools/versions.py [--smoke] [--set oldest|newest] [-- ARGUMENTS OF PYTEST]        # make compat-versions

Of each package, the set `oldest` has the lower bound itself, and `newest` the newest release below the upper bound.
A set is a virtual environment below build/compat. Everything else in it is that of the environment that runs this.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "compat"
PACKAGES = ("uvicorn", "websockets", "starlette", "msgspec")
SETS = ("oldest", "newest")
TESTS = ("tests/server", "tests/client", "tests/endpoints", "tests/protocol", "tests/session")
# One file for each seam: our changes of uvicorn, the client's websocket, Starlette's routes, msgspec's parsing.
SMOKE = ("tests/server/test_websocket.py", "tests/server/test_http.py", "tests/endpoints", "tests/protocol")


def bounds(dependencies: list[str]) -> dict[str, tuple[str, str]]:
    """Package -> the lowest version and the range that these requirements allow. SystemExit when one has no bound."""
    found = {}
    for package in PACKAGES:
        matches = [re.fullmatch(rf"{package}(>=([\d.]+),<[\d.]+)", requirement) for requirement in dependencies]
        match = next((match for match in matches if match), None)
        if match is None:
            raise SystemExit(f"tools/versions.py: expected {package}>=LOWEST,<END among the dependencies")
        found[package] = (match[2], match[1])
    return found


def requirements(which: str, dependencies: list[str]) -> list[str]:
    """What pip installs for a set."""
    return [
        f"{package}=={lowest}" if which == "oldest" else f"{package}{allowed}"
        for package, (lowest, allowed) in bounds(dependencies).items()
    ]


def make(which: str, dependencies: list[str]) -> Path:
    """Makes the environment of a set anew and returns its Python."""
    folder = BUILD / which
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    # Its own packages come first on the path, then those of the environment that runs this.
    (site / "everything-else.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
    ]
    subprocess.run([*command, *requirements(which, dependencies)], check=True)
    return python


def versions(python: Path) -> dict[str, str]:
    """What that Python imports."""
    code = f"import importlib.metadata as m, sys; print(*(m.version(name) for name in {PACKAGES!r}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return dict(zip(PACKAGES, done.stdout.split(), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--smoke", action="store_true", help="a file for each seam, in place of all server and client tests"
    )
    parser.add_argument("--set", choices=SETS, help="only this one")
    parser.add_argument("arguments", nargs="*", help="of pytest")
    args = parser.parse_args()
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    failed = []
    for which in [args.set] if args.set else SETS:
        python = make(which, dependencies)
        said = ", ".join(f"{package} {version}" for package, version in versions(python).items())
        print(f"{which}: {said}", flush=True)
        command = [python, "-m", "pytest", "-q", *(SMOKE if args.smoke else TESTS), *args.arguments]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(f"{which} ({said})")
    for each in failed:
        print(f"tests fail with the {each}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
