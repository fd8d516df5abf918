"""A ring's conversions on vectors that the build of this machine does not have: those of other machines differ."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "ext/voxgate/_native"
COMPILER = shutil.which(os.environ.get("CC", "cc").split()[0])


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    "flags",
    [
        ["-O3"],
        ["-O3", "-U__SSE2__"],
        # GCC 12 once took -0.0 for a whole number with these, and on ARM.
        pytest.param(
            ["-O3", "-msse4.1"],
            marks=pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86-64 alone"),
        ),
        ["-O1", "-g", "-U__SSE2__", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ],
    ids=" ".join,
)
def test_samples_come_back_bit_for_bit(flags: list[str], tmp_path: Path) -> None:
    program = tmp_path / "vectors"
    # The flags of setup.py.
    command = [
        COMPILER or "cc", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror",
        *flags, f"-I{HEADERS}", str(HERE / "ring_vectors.c"), "-o", str(program),
    ]  # fmt: skip
    # A sanitizer that is loaded into this process is not for the compiler.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    built = subprocess.run(command, capture_output=True, text=True, env=environment)
    if built.returncode != 0 and ("cannot find" in built.stderr or "unsupported" in built.stderr):
        pytest.skip("no sanitizers here")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr[-5000:]
