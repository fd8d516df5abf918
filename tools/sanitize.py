"""Runs the tests of the native code in builds with AddressSanitizer + UBSan, and with ThreadSanitizer.

Arguments: which of them (asan, tsan; default both), then any for pytest. Each is built into build/<name>, beside the
ordinary build.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Python itself is not built with the sanitizers: their runtime is loaded first, and what the interpreter never frees is
# no leak of ours.
OPTIONS = {
    "asan": {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
    "tsan": {"TSAN_OPTIONS": f"halt_on_error=1:suppressions={ROOT / 'tools/tsan.supp'}"},
}


# One native module and the path it was loaded from: a run that tests the ordinary build would prove nothing.
WHERE = "import voxgate._native.ring as ring; print(ring.__file__)"


def runtime(name: str) -> str:
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    found = subprocess.run([*compiler, f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if not os.path.isabs(path):  # the bare name: the compiler has none
        sys.exit(f"{shlex.join(compiler)} has no lib{name}.so (gcc 11 or newer, with its sanitizer libraries, has)")
    return path


def fixed_addresses() -> list[str]:
    """What to put before a command so that its addresses are not randomised: older ThreadSanitizers refuse to start
    where the kernel randomises more bits than they know."""
    if not (setarch := shutil.which("setarch")):
        return []
    prefix = [setarch, platform.machine(), "-R"]
    works = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True).returncode == 0
    return prefix if works else []  # containers may forbid it


def run(name: str, pytest_arguments: list[str]) -> None:
    library = ROOT / "build" / name
    print(f"== {name}: building into {library}", flush=True)
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "--quiet",
            "build",
            "--build-lib",
            str(library),
            "--build-temp",
            f"{library}-temp",
        ],
        cwd=ROOT,
        env={**os.environ, "VOXGATE_BUILD": name},
        check=True,
    )
    # The caller's own options come last and win: ASAN_OPTIONS=detect_leaks=1 make sanitize
    options = {key: ":".join(filter(None, [value, os.environ.get(key)])) for key, value in OPTIONS[name].items()}
    environment = {
        **os.environ,
        **options,
        "LD_PRELOAD": runtime(name),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(library),
        "VOXGATE_TEST_SLOW_BUILD": "1",
        "VOXGATE_TEST_HOURS": "1",
    }
    prefix = fixed_addresses() if name == "tsan" else []
    where = subprocess.run(
        [*prefix, sys.executable, "-c", WHERE], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if not where.stdout.startswith(str(library)):
        sys.exit(f"the {name} build does not load: {where.stdout}{where.stderr}")
    # capture=sys: a sanitizer writes to the descriptor and ends the process, and what pytest had caught would be lost.
    # A sanitizer makes everything many times as slow.
    options = ["-q", "-p", "no:cacheprovider", "--capture=sys", "--timeout=3600", "-o", "faulthandler_timeout=7200"]
    command = [*prefix, sys.executable, "-m", "pytest", *options, "tests/native"]
    tested = subprocess.run([*command, *pytest_arguments], cwd=ROOT, env=environment)
    if tested.returncode != 0:
        sys.exit(f"== {name}: failed, exit code {tested.returncode}")


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument in OPTIONS]
    for name in names or OPTIONS:
        run(name, [argument for argument in sys.argv[1:] if argument not in OPTIONS])


if __name__ == "__main__":
    main()
