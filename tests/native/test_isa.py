import os
import subprocess
import sys

import pytest

from voxgate._native import isa

NAMES = {"portable", "avx2", "avx512", "neon", "avx512vnni"}


def import_with(value):
    """A fresh interpreter with VOXGATE_ISA set: (exit code, what it printed)."""
    environment = {**os.environ, "VOXGATE_ISA": value}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", "from voxgate._native import isa; print(isa.active())"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout.strip() + done.stderr


def test_supported():
    assert isa.supported()[0] == "portable"
    assert set(isa.supported()) <= NAMES
    assert not {"avx2", "neon"} <= set(isa.supported())  # two architectures


def test_the_active_one_is_supported():
    assert isa.active() in isa.supported()
    if not os.environ.get("VOXGATE_ISA"):
        assert isa.active() == isa.supported()[-1]


@pytest.mark.parametrize("name", isa.supported())
def test_forced(name):
    assert import_with(name) == (0, name)


def test_empty_means_the_best():
    assert import_with("") == (0, isa.supported()[-1])


@pytest.mark.parametrize("name", [*sorted(NAMES - set(isa.supported())), "sse9", "AVX2", " portable"])
def test_what_cannot_run_here_is_refused_at_import(name):
    code, said = import_with(name)
    assert code != 0
    assert f"ImportError: VOXGATE_ISA must be one of {', '.join(isa.supported())} on this machine, got {name!r}" in said
