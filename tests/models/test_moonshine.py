"""`moonshine`: its files, its cutting of long audio, and the real networks on human speech."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.errors import ModelLoadError
from voxgate.models import moonshine
from voxgate.models.base import Batch, Samples
from voxgate.models.loader import load_model
from voxgate.models.moonshine import Moonshine, parse_tokens, pieces, why_no_wheel
from voxgate.protocol.events import Segment
from voxgate.protocol.json_codec import encode_event
from voxgate.recordings.word_errors import WordErrors, count_word_errors

RATE = 16_000

REASON = moonshine.missing()  # None: the real networks run here; everything else runs everywhere
installed = pytest.mark.skipif(REASON is not None, reason=f"moonshine {REASON}")


def tone(duration_s: float, amplitude: float = 0.1) -> Samples:
    time = np.arange(round(duration_s * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * RATE), np.float32)


# --- what it needs ---


def test_without_the_package_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    monkeypatch.setattr(moonshine, "why_no_wheel", lambda: None)
    with pytest.raises(ModelLoadError) as caught:
        load_model("moonshine")
    assert str(caught.value) == (
        "model 'moonshine' needs the package moonshine-voice==0.0.73, which is not installed:"
        " pip install 'voxgate[moonshine]'"
    )


def test_where_no_wheel_exists_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    monkeypatch.setattr(moonshine, "_here", lambda: moonshine._Platform("Linux", "riscv64", "glibc", (2, 36)))
    with pytest.raises(ModelLoadError) as caught:
        load_model("moonshine")
    assert str(caught.value) == (
        "model 'moonshine' cannot run here: moonshine-voice 0.0.73 has no wheel for Linux riscv64 glibc 2.36, only for"
        " Linux x86_64 and aarch64 with glibc 2.34 or newer, macOS 15 or newer on arm64, and Windows amd64"
    )


def test_a_version_without_weights_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "moonshine_voice"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the package must not be imported')")
    about = tmp_path / "moonshine_voice-0.1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: moonshine-voice\nVersion: 0.1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "moonshine_voice", raising=False)
    assert moonshine.missing() == (
        "needs moonshine-voice==0.0.73, but version 0.1.2 is installed, whose wheel contains no weights:"
        " pip install 'voxgate[moonshine]'"
    )


def test_without_onnxruntime_it_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelLoadError, match=r"needs the package 'onnxruntime'.*voxgate\[moonshine\]"):
        Moonshine(str(tmp_path))


def test_a_directory_must_hold_all_files(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.bin").touch()
    expected = "with encoder_model.ort, decoder_model_merged.ort and tokenizer.bin"
    with pytest.raises(ModelLoadError, match=expected):
        load_model(f"moonshine:{tmp_path}")


@pytest.mark.parametrize(
    ("system", "machine", "libc", "version", "exists"),
    [
        ("Linux", "x86_64", "glibc", (2, 34), True),
        ("Linux", "aarch64", "glibc", (2, 41), True),
        ("Linux", "x86_64", "glibc", (2, 31), False),
        ("Linux", "x86_64", "", (), False),  # musl
        ("Linux", "armv7l", "glibc", (2, 36), False),
        ("macOS", "arm64", "", (15, 1), True),
        ("macOS", "arm64", "", (14, 7), False),
        ("macOS", "x86_64", "", (15, 1), False),
        ("Windows", "amd64", "", (), True),
        ("FreeBSD", "amd64", "", (), False),
    ],
)
def test_platforms(system: str, machine: str, libc: str, version: tuple[int, ...], exists: bool) -> None:
    why = why_no_wheel(moonshine._Platform(system, machine, libc, version))
    assert (why is None) == exists
    if why is not None:
        assert "\n" not in why
        assert f"{system} {machine}" in why


# --- the vocabulary ---


def entry(token: bytes) -> bytes:
    size = len(token)
    return bytes([size] if size < 128 else [128 + size % 128, size // 128]) + token


tokens = st.lists(st.one_of(st.binary(max_size=5), st.binary(min_size=120, max_size=300)), max_size=6)


@given(tokens)
def test_the_vocabulary_is_read_as_it_was_written(entries: list[bytes]) -> None:
    found = parse_tokens(b"".join(map(entry, entries)))
    markup = [token[:1] == b"<" and token[-1:] == b">" and len(token) > 2 for token in entries]
    assert found == [b"" if hidden else token for token, hidden in zip(entries, markup, strict=True)]


@given(tokens.filter(lambda entries: any(entries)), st.data())
def test_a_vocabulary_that_ends_too_early_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(entry, entries))
    borders = {sum(len(entry(token)) for token in entries[:n]) for n in range(len(entries) + 1)}
    cut = data.draw(st.sampled_from([n for n in range(len(whole)) if n not in borders]))
    with pytest.raises(ValueError, match="ends in the middle of an entry"):
        parse_tokens(whole[:cut])


def test_markup_is_not_text() -> None:
    assert parse_tokens(b"\x03<s>\x04</s>\x01<\x01>\x08<<ST_1>>\x02<>") == [b"", b"", b"<", b">", b"", b"<>"]


# --- cutting ---


@pytest.mark.parametrize("n_samples", [0, 1, 1599])
def test_less_than_a_tenth_of_a_second_is_nothing(n_samples: int) -> None:
    assert pieces(tone(1)[:n_samples]) == []


def test_silence_is_nothing_and_a_faint_sound_is_something() -> None:
    assert pieces(silence(2)) == []
    assert pieces(silence(40)) == []
    assert pieces(tone(2, amplitude=0.0013)) == []  # -60.7 dBFS
    assert len(pieces(tone(2, amplitude=0.0015))) == 1  # -59.5 dBFS
    click = silence(2)
    click[5000:5320] = tone(0.02)
    assert len(pieces(click)) == 1


@pytest.mark.parametrize("duration_s", [0.1, 7.0, 15.0])
def test_up_to_15_s_stay_whole(duration_s: float) -> None:
    audio = tone(duration_s)
    (piece,) = pieces(audio)
    assert np.shares_memory(piece, audio)
    assert len(piece) == len(audio)


@given(st.integers(15 * RATE + 1, 50 * RATE))
def test_longer_audio_is_cut_and_nothing_is_lost(n_samples: int) -> None:
    audio = np.full(n_samples, 0.1, np.float32)
    cut = pieces(audio)
    assert sum(map(len, cut)) == n_samples
    assert max(map(len, cut)) <= 15 * RATE
    assert min(map(len, cut)) >= RATE // 2


def test_it_is_cut_where_it_is_quietest() -> None:
    audio = tone(29)
    for begin_s, amplitude in ((9.0, 0.01), (12.0, 0.001), (14.0, 0.01), (20.0, 0.0), (24.0, 0.01)):
        audio[round(begin_s * RATE) : round((begin_s + 0.2) * RATE)] = tone(0.2, amplitude)
    ends_s = np.cumsum([len(piece) for piece in pieces(audio)]) / RATE
    assert len(ends_s) == 3
    assert 12.0 < ends_s[0] < 12.2
    assert 20.0 < ends_s[1] < 20.2
    assert ends_s[2] == 29.0


# --- the real networks ---


def sentences() -> list[Samples]:
    """The sentences of the bundled human speech, with a little room around each."""
    planes, rate = read_audio(recordings.path("reading"))
    assert rate == RATE
    return [
        planes[0, round((said.start_s - 0.2) * rate) : round((said.end_s + 0.2) * rate)].copy()
        for said in recordings.truth("reading")[0]
    ]


@pytest.fixture(scope="module")
def model() -> Iterator[Moonshine]:
    if REASON is not None:
        pytest.skip(f"moonshine {REASON}")
    model = Moonshine()
    model.warm_up()
    yield model
    model.close()


@pytest.fixture(scope="module")
def texts(model: Moonshine) -> list[str]:
    return [str(model.infer(audio)["text"]) for audio in sentences()]


def test_it_understands_the_bundled_human_speech(texts: list[str]) -> None:
    errors = WordErrors(0, 0, 0, 0)
    for said, text in zip(recordings.truth("reading")[0], texts, strict=True):
        errors += count_word_errors(said.text, text)
    assert errors.reference == 70
    assert errors.rate <= 0.05
    assert texts[4] == "He might even have been made amiable himself."


def test_each_row_of_a_batch_is_understood_as_if_it_were_alone(model: Moonshine, texts: list[str]) -> None:
    """Rows of other lengths, silent ones and long ones among them. The weights are quantised, with a scale for all
    rows together: a word may differ.
    """
    audio = sentences()
    long = np.concatenate([*audio, *audio])
    items = [audio[0], silence(1), audio[1], long, audio[2][:100], audio[3], audio[4]]
    alone = [texts[0], "", texts[1], model.infer(long)["text"], "", texts[3], texts[4]]
    for answer, text in zip(model.infer_batch(Batch.gather(items)), alone, strict=True):
        assert count_word_errors(text, answer["text"]).total <= (1 if text else 0)


def test_without_batches_no_answer_depends_on_another(texts: list[str]) -> None:
    model = Moonshine(batch=False)
    assert not model.batches
    audio = sentences()
    answers = model.infer_batch(Batch.gather([audio[0], np.concatenate(audio), audio[1]]))
    assert (answers[0], answers[2]) == ({"text": texts[0]}, {"text": texts[1]})


class Counting:
    """Networks that call a piece by its length in tenths of a second, and record what was asked together."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def transcribe(self, audios: Sequence[Samples]) -> list[str]:
        self.asked.append([f"{len(audio) * 10 // RATE}" for audio in audios])
        return self.asked[-1]


@pytest.mark.parametrize(("batch", "asked"), [(True, [8, 2]), (False, [1] * 10)])
def test_texts_reach_the_audio_they_belong_to(
    batch: bool, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"):
        (tmp_path / name).touch()
    monkeypatch.setattr(moonshine.Needs, "check", lambda self: None)
    networks = Counting()
    monkeypatch.setattr(moonshine._Networks, "load", lambda directory: networks)
    model = Moonshine(str(tmp_path), batch=batch)
    items = [tone(second) for second in range(1, 9)] + [silence(1), np.concatenate([tone(10), silence(1), tone(9)])]
    answers = [answer["text"] for answer in model.infer_batch(Batch.gather(items))]
    assert answers[:9] == [*(str(10 * second) for second in range(1, 9)), ""]
    first, second = map(int, answers[9].split())
    assert 100 <= first <= 110
    assert first + second in (199, 200)
    assert [len(together) for together in networks.asked] == asked
    assert model.infer(items[2]) == {"text": "30"}


def test_long_audio_is_answered_whole(model: Moonshine) -> None:
    planes, _ = read_audio(recordings.path("reading"))
    errors = count_word_errors(
        " ".join(said.text for said in recordings.truth("reading")[0]), model.infer(planes[0])["text"]
    )
    assert errors.rate <= 0.05


def test_what_cannot_be_speech_is_answered_with_nothing(model: Moonshine) -> None:
    for audio in (silence(0), silence(3), tone(0.09), tone(3, 0.0005)):
        assert model.infer(audio) == {"text": ""}


def test_an_answer_has_an_end_whatever_the_audio(model: Moonshine) -> None:
    """Noise may make the network repeat itself; the number of tokens is bounded."""
    noise = np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32) * np.float32(0.003)
    text = model.infer(noise)["text"]
    assert len(text.split()) <= 2.3 * 6.5 + 8
    json.loads(encode_event(Segment(0.0, 1.0, True, {"text": text}, 0)))


def test_many_threads_get_their_own_answers(model: Moonshine, texts: list[str]) -> None:
    found: dict[int, str] = {}

    def ask(index: int, audio: Samples) -> None:
        found[index] = model.infer(audio)["text"]

    threads = [threading.Thread(target=ask, args=item) for item in enumerate(sentences())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(texts))] == texts


@installed
def test_its_package_is_never_imported() -> None:
    program = (
        "import sys; from voxgate.models.loader import load_model; model = load_model('moonshine'); model.warm_up();"
        " model.close(); sys.exit('moonshine_voice' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
