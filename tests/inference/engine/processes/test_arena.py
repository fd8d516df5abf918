from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from voxgate.inference.engine.processes import arena as arenas
from voxgate.inference.engine.processes.arena import SharedArena, map_batch


def allocated_bytes(arena: SharedArena) -> int:
    return os.fstat(arena.fd).st_blocks * 512


def test_what_one_writes_the_other_reads() -> None:
    arena = SharedArena()
    arena.resize(4096)
    assert arena.n_bytes == len(arena.memory) == 4096
    ours = np.frombuffer(arena.memory, np.float32, 6).reshape(2, 3)
    ours[:] = [[1, 2, 3], [4, 0, 0]]
    theirs = mmap.mmap(arena.fd, 4096)
    batch = map_batch(theirs, [3, 1])
    assert [row.tolist() for row in batch] == [[1, 2, 3], [4]]
    batch.audio[1, 0] = 5
    assert ours[1, 0] == 5
    arena.close()


def test_a_batch_may_hold_nothing() -> None:
    arena = SharedArena()
    arena.resize(4)
    assert [len(row) for row in map_batch(mmap.mmap(arena.fd, 4), [0, 0])] == [0, 0]
    arena.close()


def test_it_has_no_name_and_costs_nothing_until_it_is_used() -> None:
    arena = SharedArena()
    arena.resize(1 << 30)
    assert allocated_bytes(arena) == 0
    assert not os.get_inheritable(arena.fd)
    arena.memory[5] = 1
    assert 0 < allocated_bytes(arena) <= 1 << 21
    assert not os.path.exists(os.readlink(f"/proc/self/fd/{arena.fd}"))
    arena.close()


def test_what_a_long_batch_needed_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arenas, "_KEEP_BYTES", 1 << 20)
    arena = SharedArena()
    arena.resize(8 << 20)
    memory = np.frombuffer(arena.memory, np.uint8)
    memory[:] = 7
    arena.trim(1 << 20)  # Short: everything stays.
    assert allocated_bytes(arena) >= 8 << 20
    arena.trim(3 << 20)
    assert allocated_bytes(arena) <= 2 << 20
    assert memory[: 1 << 20].min() == 7
    assert memory[1 << 20 :].max() == 0
    arena.close()


def test_closing_gives_everything_back() -> None:
    mapped = Path("/proc/self/maps").read_text().count("voxgate-audio")
    arena = SharedArena()
    arena.resize(4096)
    view = arena.memory
    assert Path("/proc/self/maps").read_text().count("voxgate-audio") == mapped + 1
    arena.close()  # Not yet: somebody looks at it.
    assert arena.fd == -1
    view.release()
    arena.close()
    del arena
    assert Path("/proc/self/maps").read_text().count("voxgate-audio") == mapped


def test_it_is_sized_once_and_first() -> None:
    arena = SharedArena()
    assert arena.n_bytes == 0
    arena.trim(1 << 30)
    with pytest.raises(AssertionError):
        _ = arena.memory
    arena.resize(8)
    with pytest.raises(AssertionError):
        arena.resize(16)
    arena.close()


def test_without_memfd_it_is_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    arena = SharedArena()
    arena.resize(64)
    arena.memory[:] = bytes(range(64))
    assert mmap.mmap(arena.fd, 64)[:] == bytes(range(64))
    assert os.fstat(arena.fd).st_nlink == 0
    assert not os.get_inheritable(arena.fd)
    arena.close()
