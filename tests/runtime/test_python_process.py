"""Python processes that another one starts."""

from __future__ import annotations

import errno
import os
import select
import sys

import pytest

from voxgate.runtime.python_process import open_pidfd, start_python

MODULE = """
import os, sys

def main(fd, words):
    os.write(fd, repr((words, sys.path[0])).encode())
    sys.exit(3)
"""


def test_main_gets_its_arguments_and_the_module_path(tmp_path, monkeypatch):
    (tmp_path / "its_module.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    reading, writing = os.pipe()
    process = start_python("its_module", {"fd": writing, "words": ["a", "b"]}, pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as file:
        assert file.read().decode() == repr((["a", "b"], str(tmp_path)))
    assert process.wait(30) == 3


def test_a_process_that_dies_before_it_reads_its_arguments_is_no_error(monkeypatch):
    monkeypatch.setattr("voxgate.runtime.python_process.BOOT", "raise SystemExit(4)")
    process = start_python("nothing", {"large": bytes(1 << 20)}, pass_fds=[])
    assert process.wait(30) == 4


def test_a_pidfd_shows_the_end():
    process = start_python("sys", {}, pass_fds=[], stderr=-3)  # sys has no main
    pidfd = open_pidfd(process.pid)
    assert pidfd is not None
    assert select.select([pidfd], [], [], 30)[0] == [pidfd]
    os.close(pidfd)
    assert process.wait(30) == 1


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_system_without_pidfds(monkeypatch, number):
    def refuse(pid: int) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert open_pidfd(os.getpid()) is None


def test_no_room_for_another_file(monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="too many open files"):
        open_pidfd(os.getpid())
