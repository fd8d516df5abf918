"""The detectors, and how they are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.own_detectors import OWN
from voxgate.errors import ConfigError, WeightsError
from voxgate.vad.detectors import DETECTORS, load_detector


class TestLoadDetector:
    def test_weights_are_loaded_once(self) -> None:
        one, other = load_detector("silero").create(1), load_detector().create(2)
        assert one.network is other.network  # type: ignore[attr-defined]
        assert (one.channels, other.channels) == (1, 2)

    @pytest.mark.parametrize("name", DETECTORS)
    def test_factory_tells_what_its_detectors_are(self, name: str) -> None:
        factory = load_detector(name)
        made = factory.create(3)
        assert factory.name == name
        assert (made.frame_samples, made.sample_rate) == (factory.frame_samples, factory.sample_rate)
        assert made.channels == 3
        assert factory.create(3) is not made

    def test_bad_weights_are_an_error_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError):
            load_detector("silero", str(tmp_path / "missing.bin"))
        (tmp_path / "wrong.bin").write_bytes(b"RIFF")
        with pytest.raises(WeightsError):
            load_detector("silero", tmp_path / "wrong.bin")

    def test_unknown_name(self) -> None:
        with pytest.raises(
            ConfigError, match=r"unknown detector 'siler': expected silero, energy or 'pkg\.module:attr"
        ):
            load_detector("siler")

    @pytest.mark.parametrize("attribute", ["Loud", "make", "ready", "Holder.nested"])
    def test_own(self, own: str, attribute: str) -> None:
        factory = load_detector(f"{own}:{attribute}")
        assert (factory.frame_samples, factory.sample_rate) == (100, 8000)
        audio = np.zeros((2, 300), np.float32)
        audio[0, 150] = 0.75
        for _ in range(2):  # the second one has not heard what the first has
            assert factory.create(2).probabilities(audio).tolist() == [[0, 0.75, 0.75], [0, 0, 0]]

    def test_own_is_found_in_the_current_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own_detectors_of_cwd.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", ["/nowhere"] + [p for p in __import__("sys").path if p])
        assert load_detector("own_detectors_of_cwd:Loud").sample_rate == 8000

    @pytest.mark.parametrize(
        ("attribute", "message"),
        [
            ("Missing", "'own_detectors_for_test' has no attribute 'Missing'$"),
            ("Silent", r"has no method probability\(frame\)"),
            ("NoRate", r"sample_rate must be an integer, 4000\.\.192000, got None"),
            ("BadFrame", r"frame_samples must be an integer, 1\.\.1048576, got 0"),
            ("Broken", "cannot be made: OSError: no weights here"),
            ("stuck", "an object that cannot be copied"),
            ("number", "must be a class, a function or a detector, got int"),
        ],
    )
    def test_own_that_is_none(self, own: str, attribute: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_detector(f"{own}:{attribute}")

    def test_no_such_module(self) -> None:
        with pytest.raises(
            ConfigError, match="no module named 'no_such_module_anywhere', neither in the current directory"
        ):
            load_detector("no_such_module_anywhere:Thing")
