"""Fuzzes every target of tests/fuzz, one after the other: python tools/fuzzing.py [--seconds 60] [--target pcm ...]

With clang and its sanitizer runtime (Debian: clang, libclang-rt-14-dev), the native code is first built with
AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer's coverage into build/fuzz, beside the ordinary build: the
fuzzer then sees its branches. Without clang, the ordinary build is fuzzed: Python's branches guide it then.
What it learns stays in build/fuzz-corpus; a finding is a file in
build/fuzz-findings, and how to run it again is printed.
"""

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD, CORPUS, FINDINGS = ROOT / "build/fuzz", ROOT / "build/fuzz-corpus", ROOT / "build/fuzz-findings"
sys.path.insert(0, str(ROOT / "tests"))
WHERE = "import voxgate._native.ring as ring; print(ring.__file__)"
# A single input that takes this long, or this much memory on top of the sanitizer's own, is a finding too.
LIMITS = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=4096"]


def build() -> dict[str, str]:
    """Builds the native code for fuzzing; the environment in which it runs."""
    import atheris

    runtime = Path(atheris.path()) / "asan_with_fuzzer.so"
    if shutil.which("clang") is None or not runtime.exists() or platform.system() != "Linux":
        print("== no clang, or an atheris without its sanitizer runtime: the ordinary build is fuzzed", flush=True)
        return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    print(f"== building into {BUILD}", flush=True)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build", "--build-lib", str(BUILD), "--build-temp", f"{BUILD}-temp"],
        cwd=ROOT,
        env={**os.environ, "CC": "clang", "LDSHARED": "clang -shared", "VOXGATE_BUILD": "fuzz"},
        check=True,
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(BUILD),
        "LD_PRELOAD": str(runtime),
        "PYTHONMALLOC": "malloc",
        # What an allocation too large gives on stock Python: none, and a MemoryError.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:" + os.environ.get("ASAN_OPTIONS", ""),
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""),
    }
    where = subprocess.run([sys.executable, "-c", WHERE], cwd=ROOT, env=environment, capture_output=True, text=True)
    if not where.stdout.startswith(str(BUILD)):
        sys.exit(f"the fuzz build does not load: {where.stdout}{where.stderr}")
    return environment


def fuzz(name: str, seconds: int, environment: dict[str, str], options: list[str]) -> bool:
    from fuzz.targets import load

    corpus, findings = CORPUS / name, FINDINGS / name
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(load(name).SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    log = FINDINGS / f"{name}.log"
    command = [sys.executable, "tests/fuzz/run.py", name, str(corpus), f"-max_total_time={seconds}", *LIMITS]
    command += [f"-artifact_prefix={findings}/", "-print_final_stats=1", *options]
    began_s = time.monotonic()
    with log.open("w") as output:
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    text = log.read_text(errors="replace")
    stats = dict(line.removeprefix("stat::").split(":", 1) for line in text.splitlines() if line.startswith("stat::"))
    runs = stats.get("number_of_executed_units", "?").strip()
    covered = [line.split("cov: ")[1].split()[0] for line in text.splitlines() if " cov: " in line]
    took_s = time.monotonic() - began_s
    outcome = "ok" if ended.returncode == 0 else f"FAILED, exit code {ended.returncode}"
    print(
        f"{name:16} {runs:>9} runs {took_s:6.0f} s  {covered[-1] if covered else '?':>6} edges  {outcome}", flush=True
    )
    if ended.returncode:
        print("\n".join(text.splitlines()[-60:]))
        print(f"-- the whole of it: {log}; again: make fuzz TARGET={name} ARGS=FILE of {findings}", flush=True)
    return ended.returncode == 0


def main() -> None:
    from fuzz.targets import NAMES

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--target", nargs="+", choices=NAMES, default=NAMES, help="only these")
    parser.add_argument("options", nargs="*", help="for libFuzzer: -seed=1, or the file of a finding")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "atheris is not installed: pip install 'voxgate[fuzz]' (it has wheels for CPython 3.11 to 3.13, Linux)"
        )
    environment = build()
    failed = [name for name in arguments.target if not fuzz(name, arguments.seconds, environment, arguments.options)]
    if failed:
        sys.exit(f"== findings in {', '.join(failed)}")


if __name__ == "__main__":
    main()
