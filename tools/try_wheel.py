"""Builds the wheel, looks into it, installs it into a clean environment, and runs the demo from an empty directory.
Looks into the source distribution, too.
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path = ROOT) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


def build(directory: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", directory, ".")
    (wheel,) = directory.glob("*.whl")
    return wheel


def inspect(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    sources = sorted(name for name in names if name.endswith((".c", ".h", ".pyx", ".pxd", ".cpp")))
    if sources:
        sys.exit(f"the wheel should hold no sources of the native code, but holds {', '.join(sources)}")
    natives = [path.stem for path in (ROOT / "ext/voxgate/_native").glob("*.pyx")]
    for native in natives:
        for what in (f"voxgate/_native/{native}.", f"voxgate/_native/{native}.pyi"):
            suffix = ".pyi" if what.endswith(".pyi") else ".so"
            if not any(name.startswith(what) and name.endswith(suffix) for name in names):
                sys.exit(f"the wheel lacks {what.removesuffix('.pyi')}{suffix}")
    for data in (
        "voxgate/py.typed",
        "voxgate/web/index.html",
        "voxgate/web/page.js",
        "voxgate/web/client/stream.js",
        "voxgate/web/style.css",
        "voxgate/proto/voxgate.proto",
        "voxgate/proto/voxgate.binpb",
    ):
        if data not in names:
            sys.exit(f"the wheel lacks {data}")
    if others := sorted(name for name in names if not name.startswith(("voxgate/", "voxgate-"))):
        sys.exit(f"the wheel should hold the package alone, but holds {', '.join(others)}")
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    if "voxgate = voxgate.cli:main" not in zipfile.ZipFile(wheel).read(entry_points).decode():
        sys.exit("the wheel lacks the command voxgate")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(natives)} native modules, no sources")


def inspect_sources(directory: Path) -> None:
    """What the source distribution brings beside the package: the examples, and all that a build wants."""
    run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", directory)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = [*(ROOT / "examples").glob("*.*"), *(ROOT / "ext").rglob("*.p?[xd]"), *(ROOT / "ext").rglob("*.h")]
    missing = sorted({str(path.relative_to(ROOT)) for path in wanted} - names)
    if missing:
        sys.exit(f"the source distribution lacks {', '.join(missing)}")
    print(f"{archive.name}: with {len(list((ROOT / 'examples').glob('*.py')))} examples")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        wheel = build(directory / "wheel")
        inspect(wheel)
        inspect_sources(directory / "sdist")
        venv.create(directory / "venv", with_pip=True)
        binaries, empty = directory / "venv/bin", directory / "empty"
        empty.mkdir()
        run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=empty)
        run(binaries / "voxgate", "--version", "--verbose", cwd=empty)
        run(binaries / "voxgate", "demo", "--fast", cwd=empty)


if __name__ == "__main__":
    main()
