"""Files that the command line writes: whole or not at all, and never in place of an input."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.cli.output import ESCAPES, Output, SameFile


@pytest.fixture
def old(tmp_path: Path) -> Path:
    place = tmp_path / "out"
    place.write_text("old")
    place.chmod(0o640)
    return place


def left_over(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if "voxgate-" in path.name]


def test_a_file_has_its_old_content_until_it_is_complete(old: Path) -> None:
    with Output(str(old)) as output:
        output.text.write("new")
        output.text.flush()
        assert old.read_text() == "old"
        output.commit()
        assert old.read_text() == "new"
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert left_over(old.parent) == []


@pytest.mark.parametrize("exists", [False, True])
def test_without_commit_everything_is_as_before(tmp_path: Path, exists: bool) -> None:
    place = tmp_path / "out"
    if exists:
        place.write_text("old")
    with Output(str(place)) as output:
        output.text.write("new")
    assert place.exists() is exists
    assert not exists or place.read_text() == "old"
    assert left_over(tmp_path) == []
    output.close()


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    beside = tmp_path / "usual"
    beside.touch()
    with Output(str(tmp_path / "out")) as output:
        output.commit()
    assert (tmp_path / "out").stat().st_mode == beside.stat().st_mode


def test_bytes_and_text(old: Path) -> None:
    with Output(str(old)) as output:
        output.file.write(b"\x00\xff")
        output.commit()
    assert old.read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("name", ["rec.wav", "./rec.wav", "hard.wav", "soft.wav", "sub/../rec.wav"])
def test_an_input_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rec.wav").write_bytes(b"audio")
    Path("sub").mkdir()
    os.link("rec.wav", "hard.wav")
    os.symlink("rec.wav", "soft.wav")
    with pytest.raises(SameFile, match="is also an input"):
        Output(name, ["rec.wav"])
    with open("rec.wav", "rb") as opened, pytest.raises(SameFile):
        Output(name, [opened.fileno()])
    assert Path("rec.wav").read_bytes() == b"audio"
    assert left_over(tmp_path) == []


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    place = str(tmp_path / "out")
    with pytest.raises(SameFile, match="is written by another option"):
        Output(place, others=[place])
    with Output(os.devnull, [os.devnull], [os.devnull]) as output:  # which holds nothing that could be lost
        output.commit()


def test_a_link_stays_a_link(tmp_path: Path, old: Path) -> None:
    for name, target in (("link", "out"), ("dangling", "other")):
        link = tmp_path / name
        link.symlink_to(target)
        with Output(str(link)) as output:
            output.text.write("new")
            output.commit()
        assert link.is_symlink()
        assert (tmp_path / target).read_text() == "new"


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    place = tmp_path / "fifo"
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    with Output(str(place)) as output:
        output.text.write("now")
        output.text.flush()
        assert os.read(reader, 10) == b"now"
        output.commit()
    os.close(reader)
    assert stat.S_ISFIFO(place.stat().st_mode)


def test_standard_output_by_name_keeps_what_is_there(old: Path) -> None:
    program = "from voxgate.cli.output import Output; o = Output('/dev/stdout'); o.text.write('new'); o.commit()"
    with old.open("a") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True, timeout=60)
    assert old.read_text() == "oldnew"


def test_a_full_device_is_one_error_that_names_it() -> None:
    with Output("/dev/full") as output:
        output.text.write("x")
        with pytest.raises(OSError, match="No space left") as caught:
            output.commit()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


def test_closing_what_was_not_written_is_no_second_error() -> None:
    with Output("/dev/full") as output:
        output.text.write("x")
    output.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [("no/such/place", errno.ENOENT), (".", errno.EISDIR), ("new/", errno.EISDIR), ("out/x", errno.ENOTDIR)],
)
def test_what_cannot_be_written_is_told_at_once(old: Path, name: str, code: int) -> None:
    place = os.path.join(old.parent, name)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        Output(place)
    assert (caught.value.errno, caught.value.filename) == (code, place)


def test_a_directory_that_takes_no_new_files(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(suffix: str, prefix: str, directory: str | None = None) -> tuple[int, str]:
        if directory is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory)
        return real(suffix, prefix)

    real = __import__("tempfile").mkstemp
    monkeypatch.setattr("voxgate.cli.output.tempfile.mkstemp", refuse)
    with Output(str(old)) as output:
        output.text.write("new")
        assert old.read_text() == "old"
        output.commit()
    assert old.read_text() == "new"
    with pytest.raises(PermissionError) as caught:
        Output(str(old.parent / "other"))
    assert caught.value.filename == str(old.parent / "other")


def test_a_file_that_cannot_be_replaced_is_overwritten(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is mounted itself into a container."""

    def busy(source: str, target: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), source, None, target)

    monkeypatch.setattr("voxgate.cli.output.os.replace", busy)
    with Output(str(old)) as output:
        output.text.write("new")
        output.commit()
    assert old.read_text() == "new"
    assert left_over(old.parent) == []


def utf16(text: str) -> bytes:
    return text.encode("utf-16", "surrogatepass")


@given(st.text(st.characters(exclude_categories=["Cc"], exclude_characters='"\\')))
def test_any_text_can_be_written_in_any_encoding_and_read_as_json(text: str) -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        written = text.encode(encoding, ESCAPES).decode(encoding)
        assert utf16(json.loads(f'"{written}"')) == utf16(text)
