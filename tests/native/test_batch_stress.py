"""The queue without Python, under the sanitizers: with it, the interpreter's lock hides most of what could go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "ext/voxgate/_native"
COMPILER = shutil.which(os.environ.get("CC", "cc").split()[0])


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
def test_threads_of_c(sanitizer: str, tmp_path: Path) -> None:
    program = tmp_path / "stress"
    command = [
        COMPILER or "cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
        f"-fsanitize={sanitizer}", f"-I{HEADERS}", str(HERE / "batch_stress.c"), "-o", str(program),
    ]  # fmt: skip
    # A sanitizer that is loaded into this process is not for the compiler.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    built = subprocess.run(command, capture_output=True, text=True, env=environment)
    if built.returncode != 0 and ("cannot find" in built.stderr or "unsupported" in built.stderr):
        pytest.skip(f"no -fsanitize={sanitizer} here")
    assert built.returncode == 0, built.stderr
    environment |= {"UBSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    ran = subprocess.run([program], capture_output=True, text=True, env=environment, timeout=300)
    if "unexpected memory mapping" in ran.stderr or "LeakSanitizer has encountered a fatal error" in ran.stderr:
        pytest.skip("the sanitizer does not run here")
    assert ran.returncode == 0, ran.stderr[-5000:]
