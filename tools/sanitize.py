"""Runs the tests of the native code in builds with AddressSanitizer + UBSan, and with ThreadSanitizer.

Arguments: which of them (asan, tsan; default both), then any for pytest. Each is built into build/<name>, beside the
ordinary build.
"""

import os
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


def runtime(name: str) -> str:
    compiler = os.environ.get("CC", "gcc")
    found = subprocess.run([compiler, f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


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
    environment = {
        **os.environ,
        **OPTIONS[name],
        "LD_PRELOAD": runtime(name),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(library),
        "VOXGATE_TEST_SLOW_BUILD": "1",
    }
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/native", *pytest_arguments],
        cwd=ROOT,
        env=environment,
        check=True,
    )


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument in OPTIONS]
    for name in names or OPTIONS:
        run(name, [argument for argument in sys.argv[1:] if argument not in OPTIONS])


if __name__ == "__main__":
    main()
