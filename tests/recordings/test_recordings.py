"""The bundled speech is what its truth says: rates, channels, and sound exactly where somebody speaks."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from voxgate import recordings

TOOL = Path(__file__).parents[2] / "tools" / "make_speech.py"
MADE = ("demo", "stereo", "noisy", "telephone")
NAMES = (*MADE, "reading")


def load_tool(path: Path = TOOL) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-20))


def test_names() -> None:
    assert recordings.names() == NAMES


def test_unknown_names_are_told_with_the_known_ones() -> None:
    for function in (recordings.path, recordings.truth, recordings.tolerance_s):
        with pytest.raises(KeyError, match=r"no bundled recording 'opera'.*demo, stereo"):
            function("opera")


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("demo", 16_000, 1), ("stereo", 44_100, 2), ("noisy", 16_000, 1), ("telephone", 8000, 1), ("reading", 16_000, 1)],
)
def test_files_are_as_described(name: str, rate: int, channels: int) -> None:
    info = soundfile.info(recordings.path(name))
    assert (info.samplerate, info.channels, info.subtype, info.format) == (rate, channels, "PCM_16", "FLAC")
    assert len(recordings.truth(name)) == channels
    assert 5 < info.duration < (31 if name == "reading" else 13)


def test_all_together_are_small() -> None:
    assert sum(recordings.path(name).stat().st_size for name in MADE) < 1_200_000
    assert recordings.path("reading").stat().st_size < 500_000


@pytest.mark.parametrize("name", NAMES)
def test_utterances_are_in_order_inside_the_file_and_apart(name: str) -> None:
    duration_s = soundfile.info(recordings.path(name)).duration
    for channel in recordings.truth(name):
        assert channel
        assert channel[0].start_s >= 0.5
        assert channel[-1].end_s <= duration_s - 0.2
        for said in channel:
            assert said.end_s - said.start_s > 0.5
            assert said.text
            assert said.voice
        for one, following in pairwise(channel):
            assert following.start_s - one.end_s >= 0.75  # longer than the default silence that ends an utterance


@pytest.mark.parametrize("name", ["demo", "stereo", "telephone"])
def test_sound_is_where_the_truth_says(name: str) -> None:
    samples, rate = soundfile.read(recordings.path(name), always_2d=True)
    for channel, utterances in enumerate(recordings.truth(name)):
        plane = samples[:, channel]
        spoken = np.zeros(len(plane), dtype=bool)
        for said in utterances:
            begin, end = round(said.start_s * rate), round(said.end_s * rate)
            spoken[begin:end] = True
            margin = round(0.02 * rate)
            inside = level_db(plane[begin:end])
            assert inside > -25
            assert level_db(plane[begin : begin + margin]) > level_db(plane[begin - margin : begin]) + 6
            assert level_db(plane[end - margin : end]) > level_db(plane[end : end + margin]) + 6
        assert level_db(plane[~spoken]) < -55
        assert np.abs(plane[~spoken]).max() > 0  # a faint room, not digital silence


def test_stereo_speakers_overlap_partly() -> None:
    left, right = recordings.truth("stereo")
    overlaps = [min(a.end_s, b.end_s) - max(a.start_s, b.start_s) for a in left for b in right]
    assert any(overlap > 0.2 for overlap in overlaps)
    assert any(overlap < 0 for overlap in overlaps)


def test_noisy_is_the_demo_in_noise_of_5_to_10_db() -> None:
    assert recordings.truth("noisy") == recordings.truth("demo")
    noisy, rate = soundfile.read(recordings.path("noisy"))
    clean, _ = soundfile.read(recordings.path("demo"))
    spoken = np.zeros(len(clean), dtype=bool)
    for said in recordings.truth("demo")[0]:
        spoken[round(said.start_s * rate) : round(said.end_s * rate)] = True
    assert 5 <= level_db(clean[spoken]) - level_db((noisy - clean)[spoken]) <= 10


def test_the_telephone_passes_300_to_3400_hz() -> None:
    samples, rate = soundfile.read(recordings.path("telephone"))
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    inside = power[(frequency > 300) & (frequency < 3400)].sum()
    assert power[frequency < 200].sum() < 1e-3 * inside
    assert power[frequency > 3600].sum() < 1e-3 * inside


def espeak_ng_version() -> str:
    if shutil.which("espeak-ng") is None:
        return "none"
    return subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout


def test_the_tool_makes_exactly_the_bundled_files() -> None:
    tool = load_tool()
    if f" {tool.ESPEAK_NG_VERSION} " not in espeak_ng_version():
        pytest.skip(f"needs espeak-ng {tool.ESPEAK_NG_VERSION}")
    for recording in tool.RECORDINGS:
        samples, truth = tool.make(recording)
        bundled, rate = soundfile.read(recordings.path(recording.name), dtype="int16", always_2d=True)
        assert rate == recording.sample_rate
        # Other builds of soxr and FFT may round another way: one step of 16 bits is the same recording.
        assert np.abs(samples.astype(int) - bundled).max() <= 1
        assert [[recordings.Utterance(**line) for line in channel] for channel in truth] == [
            list(channel) for channel in recordings.truth(recording.name)
        ]


def test_the_reading_is_human_speech_with_its_origin_and_more_tolerance() -> None:
    entry = json.loads((recordings.path("reading").parent / "truth.json").read_text())["files"]["reading"]
    assert "LibriVox" in entry["origin"]
    assert "public domain" in entry["origin"]
    assert (recordings.tolerance_s("reading"), recordings.tolerance_s("demo")) == (0.15, 0.1)
    said = recordings.truth("reading")[0]
    assert len(said) == 5
    assert "more amiable woman" in said[3].text  # where the words of the source have "more a amiable"


def test_the_reading_sounds_where_its_alignment_says() -> None:
    samples, rate = soundfile.read(recordings.path("reading"))
    spoken = np.zeros(len(samples), dtype=bool)
    for said in recordings.truth("reading")[0]:
        spoken[round(said.start_s * rate) : round(said.end_s * rate)] = True
    assert level_db(samples[spoken]) > level_db(samples[~spoken]) + 20


def test_a_changed_clip_is_refused(tmp_path: Path) -> None:
    tool = load_tool(TOOL.parent / "make_reading.py")
    place = tmp_path / "pocketsphinx.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        for clip in tool.CLIPS:
            for kind in ("wav", "json"):
                info = tarfile.TarInfo(f"pocketsphinx-0/{tool.STEM}-{clip.number}.{kind}")
                archive.addfile(info)
    with tarfile.open(place) as archive, pytest.raises(ValueError, match="clip 0870 is not the one that is bundled"):
        tool.make(archive)


def test_audible_range_finds_onset_and_offset() -> None:
    tool = load_tool()
    rate = 16_000
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    faint = 10 ** (-(tool.AUDIBLE_DB + 6) / 20)
    signal = np.concatenate([np.zeros(800), faint * tone[:800], tone[:4000], faint * tone[:800], np.zeros(37)])
    assert tool.audible_range(signal, rate) == (1600, 5600)


def test_pink_noise_is_seeded_and_falls_by_3_db_an_octave() -> None:
    tool = load_tool()
    noise = tool.pink_noise(1 << 16, np.random.default_rng(7))
    assert np.array_equal(noise, tool.pink_noise(1 << 16, np.random.default_rng(7)))
    assert np.mean(noise**2) == pytest.approx(1.0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise))

    def density(low: float) -> float:
        return float(power[(frequency >= low) & (frequency < 1.2 * low)].mean())

    assert density(0.02) / density(0.04) == pytest.approx(2.0, rel=0.15)
    assert density(0.1) / density(0.2) == pytest.approx(2.0, rel=0.15)
