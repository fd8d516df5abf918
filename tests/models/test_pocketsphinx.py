"""`pocketsphinx`: the real decoder on the bundled speech."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pocketsphinx", reason="pocketsphinx is optional: pip install 'voxgate[pocketsphinx]'")

from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.errors import ModelLoadError
from voxgate.models.base import Samples
from voxgate.models.loader import load_model
from voxgate.models.pocketsphinx import PocketSphinx
from voxgate.protocol.events import Segment
from voxgate.protocol.json_codec import encode_event

PADDING_S = 0.6


def utterances() -> list[Samples]:
    """What the VAD cuts out of the bundled speech, with its default padding."""
    planes, rate = read_audio(recordings.path("demo"))
    assert rate == PocketSphinx.sample_rate
    return [
        planes[0, round((said.start_s - PADDING_S) * rate) : round(said.end_s * rate)].copy()
        for said in recordings.truth("demo")[0]
    ]


@pytest.fixture(scope="module")
def model() -> Iterator[PocketSphinx]:
    """One decoder for all tests here: making it is what takes time."""
    model = PocketSphinx()
    model.warm_up()
    yield model
    model.close()


@pytest.fixture(scope="module")
def heard(model: PocketSphinx) -> list[dict[str, Any]]:
    return [dict(model.infer(audio)) for audio in utterances()]


def test_it_hears_the_bundled_speech(heard: list[dict[str, Any]]) -> None:
    assert "everybody liked it" in heard[1]["text"]
    assert heard[2]["text"].startswith("wonderful let me look")
    assert heard[3]["text"] == "welcome aboard"


def test_words_have_times_relative_to_the_audio(heard: list[dict[str, Any]]) -> None:
    welcome, aboard = heard[3]["words"]
    assert (welcome["word"], aboard["word"]) == ("welcome", "aboard")
    assert welcome["start"] == pytest.approx(PADDING_S, abs=0.1)
    assert welcome["end"] == aboard["start"]
    said = recordings.truth("demo")[0][3]
    assert aboard["end"] == pytest.approx(PADDING_S + said.end_s - said.start_s, abs=0.1)


def test_words_are_what_the_text_says(heard: list[dict[str, Any]]) -> None:
    for answer, audio in zip(heard, utterances(), strict=True):
        assert answer["text"] == " ".join(word["word"] for word in answer["words"])
        times = [time for word in answer["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0.0 <= times[0] < times[-1] <= len(audio) / 16_000 + 0.02
        for word in answer["words"]:
            assert list(word) == ["word", "start", "end", "probability"]
            assert word["word"].replace("'", "").isalpha()  # no fillers, no marks of pronunciations
            assert 0.0 <= word["probability"] <= 1.0
        json.loads(encode_event(Segment(0.0, 1.0, True, answer, 0)))


def test_what_came_before_leaves_no_trace(model: PocketSphinx, heard: list[dict[str, Any]]) -> None:
    """One stream never harms another: not by the order, and not by what a loud one sent."""
    loud: Samples = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    for audio, expected in list(zip(utterances(), heard, strict=True))[::-1]:
        model.infer(loud)
        assert model.infer(audio) == expected
    assert PocketSphinx().infer(utterances()[0]) == heard[0]


@pytest.mark.parametrize("n", [0, 1, 100, 159, 160, 400, 800, 16_000])
def test_silence_and_scraps_have_no_words(model: PocketSphinx, n: int, heard: list[dict[str, Any]]) -> None:
    assert model.infer(np.zeros(n, np.float32)) == {"text": "", "words": []}
    audio = np.full(n, 1e-3, np.float32)
    assert set(model.infer(audio)) == {"text", "words"}
    assert model.infer(utterances()[3]) == heard[3]


def test_samples_outside_the_range_are_clipped(model: PocketSphinx) -> None:
    audio = utterances()[3]
    assert model.infer(np.clip(audio * 100, -1, 1)) == model.infer(audio * 100)


def test_threads_share_one_decoder(model: PocketSphinx, heard: list[dict[str, Any]]) -> None:
    audios = utterances()
    answers: dict[int, Any] = {}

    def work(i: int) -> None:
        answers[i] = [model.infer(audios[j]) for j in (i, (i + 1) % 4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [heard[i], heard[(i + 1) % 4]] for i in range(4)}


def test_a_failing_call_leaves_the_decoder_usable(
    model: PocketSphinx, heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = model._decoder

    class Failing:
        def process_raw(self, pcm: bytes, full_utt: bool) -> None:
            decoder.process_raw(pcm[:3200], full_utt=full_utt)
            raise RuntimeError("no luck")

        def __getattr__(self, name: str) -> Any:
            return getattr(decoder, name)

    with monkeypatch.context() as patch:
        patch.setattr(model, "_decoder", Failing())
        with pytest.raises(RuntimeError, match="no luck"):
            model.infer(utterances()[0])
    assert model.infer(utterances()[3]) == heard[3]


def test_it_says_that_it_holds_the_gil() -> None:
    model = load_model("pocketsphinx")
    assert (model.name, model.sample_rate, model.holds_gil, model.threads) == ("pocketsphinx", 16_000, True, 1)
    assert not model.batches


def test_an_instance_costs_nothing_until_it_is_warm() -> None:
    model = PocketSphinx()
    assert model._decoder is None
    model.warm_up()
    decoder = model._decoder
    assert decoder is not None
    model.warm_up()
    assert model._decoder is decoder
    model.close()
    assert model._decoder is None


def test_a_grammar_instead_of_the_language_model(tmp_path: Any) -> None:
    (tmp_path / "menu.gram").write_text(
        "#JSGF V1.0;\ngrammar menu;\npublic <choice> = welcome aboard | good morning;\n"
    )
    model = PocketSphinx(jsgf=str(tmp_path / "menu.gram"))
    assert model.infer(utterances()[3])["text"] == "welcome aboard"


def test_settings_reach_the_decoder() -> None:
    model = PocketSphinx(settings={"maxhmmpf": 123})
    model.warm_up()
    assert model._decoder.config["maxhmmpf"] == 123


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm": "nowhere.lm"}, "lm: expected an existing path, but there is nothing at 'nowhere.lm'"),
        ({"hmm": 3}, "hmm: expected an existing path, but there is nothing at '3'"),
        ({"hmm": [3]}, "the option 'hmm' must be a string, got [3]"),
        ({"lm": __file__, "jsgf": __file__}, "expected lm or jsgf, not both"),
        ({"settings": {"samprate": 8000}}, "settings.samprate: expected settings other than hmm, lm, dict, jsgf"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load_model("pocketsphinx", options)
    assert str(caught.value).startswith("model 'pocketsphinx': " + message)


def test_a_number_is_no_path() -> None:
    with pytest.raises(ValueError, match=r"^hmm must be a path, not 3$"):
        PocketSphinx(hmm=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"nonsense": 1}}, "the decoder does not know one of nonsense"),
        ({"hmm": "."}, r"the decoder cannot be made \(.*\); it was given hmm = '\.'"),
    ],
)
def test_what_the_decoder_refuses(options: dict[str, Any], message: str) -> None:
    model = PocketSphinx(**options)
    with pytest.raises(ValueError, match=message):
        model.warm_up()
