"""``voxgate vad``: what it prints, draws and refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.cli import main
from voxgate.vad.config import VadConfig
from voxgate.vad.offline import segments_of_channels


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["vad", *args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_pretty_shows_each_channel(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(recordings.path("stereo")), "--detector", "energy", "--prefix-padding-ms", "0")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].endswith("stereo.flac: 0:00:08.000, 44100 Hz, 2 channels, detector energy")
    assert [line.split(",")[0] for line in lines if line.startswith("channel")] == [
        "channel 0: 2 segments",
        "channel 1: 2 segments",
    ]
    assert lines[2].startswith("  0:00:00.6")
    assert len(lines) == 1 + 2 + 4


def test_jsonl_is_what_the_library_says(capsys: pytest.CaptureFixture[str]) -> None:
    path = recordings.path("stereo")
    code, out, _ = run(capsys, str(path), "--format", "jsonl", "--max-segment-s", "1", "--threshold", "0.3")
    found = segments_of_channels(*read_audio(path), VadConfig(0.3, 0.3, max_segment_s=1))
    expected = sorted((start, end, channel) for channel, pairs in enumerate(found) for start, end in pairs)
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"start_time": round(start, 3), "end_time": round(end, 3), "channel": channel}
        for start, end, channel in expected
    ]
    assert len(expected) > 4


@pytest.mark.parametrize("n", [0, 1, 48_000])
def test_a_file_without_speech(capsys: pytest.CaptureFixture[str], tmp_path: Path, n: int) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(n, np.float32), 48_000)
    code, out, _ = run(
        capsys, str(tmp_path / "quiet.wav"), "--detector", "energy", "--plot", str(tmp_path / "quiet.png")
    )
    assert code == 0
    assert "channel 0: 0 segments, 0.000 s" in out
    assert (tmp_path / "quiet.png").stat().st_size > 1000


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib")
    place = tmp_path / f"out.{kind}"
    code, _, _ = run(capsys, str(recordings.path("stereo")), "--plot", str(place), "--detector", "energy")
    assert code == 0
    assert place.read_bytes().startswith(magic)


def test_plot_without_matplotlib_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run(capsys, str(recordings.path("demo")), "--plot", "out.png")
    assert (code, out) == (2, "")
    assert "pip install 'voxgate[plot]'" in err


def test_plot_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = tmp_path / "no_such_directory" / "out.png"
    code, out, err = run(capsys, str(recordings.path("demo")), "--plot", str(place), "--detector", "energy")
    assert code == 1
    assert "channel 0: 4 segments" in out
    assert err.startswith(f"voxgate: cannot write {place}: ")
    # What is known beforehand is said before the work.
    place = tmp_path / "out.nonsense"
    code, out, err = run(capsys, str(recordings.path("demo")), "--plot", str(place), "--detector", "energy")
    assert (code, out) == (2, "")
    assert "expected a name that ends in .png, .svg or .pdf, got .nonsense" in err


@pytest.mark.parametrize("option", ["threshold=1.5", "silence-duration-ms=10", "max-segment-s=nan"])
def test_settings_out_of_range(capsys: pytest.CaptureFixture[str], option: str) -> None:
    code, _, err = run(capsys, str(recordings.path("demo")), f"--{option}")
    assert code == 2
    assert option.partition("=")[0].replace("-", "_") + " must be " in err


def test_a_file_that_breaks_off_is_shown_as_far_as_it_goes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    content = recordings.path("demo").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    code, out, err = run(capsys, str(tmp_path / "cut.flac"), "--detector", "energy", "--format", "jsonl")
    _, whole, _ = run(capsys, str(recordings.path("demo")), "--detector", "energy", "--format", "jsonl")
    assert code == 1
    assert out.splitlines()[:-1] == whole.splitlines()[: len(out.splitlines()) - 1]
    assert len(out.splitlines()) == 2
    assert re.fullmatch(r"voxgate vad: .*cut\.flac: readable up to \d\.\d s of 12\.5 s: .*\n", err)


def test_files_that_are_no_audio(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "slow.wav", np.zeros(100, np.float32), 1000)
    texts = {
        "missing.wav": f"No such file or directory: {tmp_path / 'missing.wav'}",
        "": f"Is a directory: {tmp_path}",
        "text.wav": f"{tmp_path / 'text.wav'}: not an audio file that can be read: Format not recognised.",
        "slow.wav": "must be within 4000..192000 Hz, got 1000",
    }
    for name, text in texts.items():
        code, out, err = run(capsys, str(tmp_path / name), "--detector", "energy")
        assert (code, out) == (2, "")
        assert err.startswith("voxgate vad: ")
        assert err.endswith(f"{text}\n")
        assert err.count("\n") == 1


def test_bundled_speech_by_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "stereo", "--detector", "energy")
    assert (code, out.partition(",")[0]) == (0, "stereo: 0:00:08.000")
    (tmp_path / "stereo").write_text("a file of that name wins")
    assert run(capsys, "stereo", "--detector", "energy")[0] == 2


def test_unknown_detector_and_missing_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "x.wav", "--detector", "nonsense")[0] == 2
    code, _, err = run(capsys, "x.wav", "--weights", "no_such_file.bin")
    assert code == 2
    assert "no_such_file.bin" in err
