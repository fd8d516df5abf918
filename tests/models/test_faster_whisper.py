"""`faster-whisper:SIZE` without weights: a stand-in for the library, and its real signatures where it is installed."""

from __future__ import annotations

import importlib.machinery
import inspect
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voxgate.errors import ModelLoadError
from voxgate.models.faster_whisper import FasterWhisper
from voxgate.models.loader import load_model

SIZES = ["tiny", "tiny.en", "base", "small", "large-v3", "turbo"]
SECOND = np.zeros(16_000, np.float32)


def segment(text: str, *words: tuple[float, float, str, float]) -> SimpleNamespace:
    found = [SimpleNamespace(start=s, end=e, word=w, probability=np.float64(p)) for s, e, w, p in words]
    return SimpleNamespace(start=0.0, end=1.0, text=text, words=found or None)


class Library(ModuleType):
    """What of the library is used, and a record of how."""

    def __init__(self) -> None:
        super().__init__("faster_whisper")
        self.__spec__ = importlib.machinery.ModuleSpec("faster_whisper", None)
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.called: list[dict[str, Any]] = []
        self.segments: list[SimpleNamespace] = [segment(" Hello,"), segment(" world.")]
        self.n_read = 0
        self.languages = ["en", "de"]
        library = self

        class WhisperModel:
            def __init__(self, model_size_or_path: str, **options: Any) -> None:
                library.loaded.append((model_size_or_path, options))

            @property
            def supported_languages(self) -> list[str]:
                return library.languages

            def transcribe(self, audio: Any, **options: Any) -> tuple[Iterator[SimpleNamespace], SimpleNamespace]:
                assert audio.dtype == np.float32
                library.called.append(options)

                def read() -> Iterator[SimpleNamespace]:
                    for one in library.segments:
                        library.n_read += 1
                        yield one

                return read(), SimpleNamespace(language="en", language_probability=0.98765)

        self.WhisperModel = WhisperModel

    def available_models(self) -> list[str]:
        return SIZES


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()
    monkeypatch.setitem(sys.modules, "faster_whisper", fake)
    return fake


def test_weights_are_loaded_by_the_warm_up_and_once(library: Library) -> None:
    model = load_model("faster-whisper:tiny")
    assert library.loaded == []
    model.warm_up()
    model.warm_up()
    model.infer(SECOND)
    assert library.loaded == [
        (
            "tiny",
            {
                "device": "auto",
                "compute_type": "default",
                "cpu_threads": 0,
                "num_workers": 1,
                "download_root": None,
                "local_files_only": False,
            },
        )
    ]


def test_the_first_call_loads_them_too_and_once(library: Library) -> None:
    model = FasterWhisper("tiny", workers=4)
    threads = [threading.Thread(target=model.infer, args=(SECOND,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(library.loaded) == 1
    assert len(library.called) == 4


def test_an_answer(library: Library) -> None:
    answer = FasterWhisper("tiny").infer(SECOND)
    assert answer == {"text": "Hello, world.", "language": "en", "language_probability": 0.9877}
    assert library.n_read == 2
    assert library.called == [
        {
            "language": None,
            "task": "transcribe",
            "beam_size": 5,
            "word_timestamps": False,
            "initial_prompt": None,
            "vad_filter": False,
            "condition_on_previous_text": False,
        }
    ]


def test_words_have_times(library: Library) -> None:
    library.segments = [
        segment(" Hello,", (0.123456, 0.5, " Hello,", 0.99999)),
        segment(" world.", (0.5, 1.0, " world.", 0.5)),
        segment(""),
    ]
    answer = FasterWhisper("tiny", words=True).infer(SECOND)
    assert answer["words"] == [
        {"word": "Hello,", "start": 0.123, "end": 0.5, "probability": 1.0},
        {"word": "world.", "start": 0.5, "end": 1.0, "probability": 0.5},
    ]
    assert library.called[0]["word_timestamps"] is True
    assert type(answer["words"][0]["probability"]) is float


def test_parts_of_a_word_are_one_word(library: Library) -> None:
    """As the real library answers: what follows a hyphen comes without a space before it."""
    library.segments = [
        segment(
            " is ill-disposed,",
            (4.0, 4.2, " is", 0.9),
            (4.2, 4.4, " ill", 0.95),
            (4.4, 4.92, "-disposed,", 0.8908),
        ),
        segment(" no", (5.0, 5.2, " no", 0.5)),
    ]
    assert FasterWhisper("tiny", words=True).infer(SECOND)["words"] == [
        {"word": "is", "start": 4.0, "end": 4.2, "probability": 0.9},
        {"word": "ill-disposed,", "start": 4.2, "end": 4.92, "probability": 0.8908},
        {"word": "no", "start": 5.0, "end": 5.2, "probability": 0.5},
    ]


def test_the_first_part_of_all_needs_no_space(library: Library) -> None:
    library.segments = [segment("No", (0.0, 0.2, "No", 0.5), (0.2, 0.3, "!", 0.25))]
    words = FasterWhisper("tiny", words=True).infer(SECOND)["words"]
    assert words == [{"word": "No!", "start": 0.0, "end": 0.3, "probability": 0.25}]


def test_a_language_that_the_weights_do_not_know_is_refused_when_they_are_loaded(library: Library) -> None:
    """The real library goes on in English, with a warning at each call."""
    library.languages = ["en"]
    model = FasterWhisper("tiny.en", language="de")
    with pytest.raises(ValueError, match=r"language: tiny\.en knows en, not 'de'"):
        model.warm_up()
    FasterWhisper("tiny.en", language="en").warm_up()
    FasterWhisper("tiny.en").warm_up()


def test_nothing_heard(library: Library) -> None:
    library.segments = []
    assert FasterWhisper("tiny").infer(SECOND)["text"] == ""
    assert FasterWhisper("tiny", words=True).infer(SECOND)["words"] == []


@pytest.mark.parametrize("n", [0, 1, 1599])
def test_scraps_are_not_sent_to_the_library(library: Library, n: int) -> None:
    answer = FasterWhisper("tiny", words=True, language="de").infer(SECOND[:n])
    assert answer == {"text": "", "language": "de", "language_probability": None, "words": []}
    assert library.called == []


def test_options_reach_the_library(library: Library, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {"language": "de", "task": "translate", "beam_size": 1, "prompt": "Voxgate", "words": True}
    loading = {"device": "cpu", "compute_type": "int8", "cpu_threads": 2, "workers": 3}
    model = load_model("faster-whisper:large-v3", {**options, **loading, "cache": "~/w", "offline": True})
    assert model.threads == 3
    model.infer(SECOND)
    assert library.loaded == [
        (
            "large-v3",
            {
                "device": "cpu",
                "compute_type": "int8",
                "cpu_threads": 2,
                "num_workers": 3,
                "download_root": str(tmp_path / "w"),
                "local_files_only": True,
            },
        )
    ]
    called = library.called[0]
    assert (called["language"], called["task"], called["beam_size"]) == ("de", "translate", 1)
    assert (called["initial_prompt"], called["word_timestamps"]) == ("Voxgate", True)


def test_a_directory_with_a_model(library: Library, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.bin").touch()
    for size in (str(tmp_path / "mine"), "~/mine"):
        load_model(f"faster-whisper:{size}").warm_up()
    monkeypatch.chdir(tmp_path)
    load_model("faster-whisper:mine").warm_up()
    assert [size for size, _ in library.loaded] == [str(tmp_path / "mine"), str(tmp_path / "mine"), "mine"]


def test_a_model_of_the_hub(library: Library) -> None:
    load_model("faster-whisper:Systran/faster-distil-whisper-large-v3").warm_up()
    assert library.loaded[0][0] == "Systran/faster-distil-whisper-large-v3"


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("smal", "expected one of tiny, tiny.en, base, small, large-v3, turbo, a model of the Hugging Face Hub"),
        ("./nowhere", "expected './nowhere' to be a directory with a model in CTranslate2's form"),
        ("/", "but it has no model.bin"),
    ],
)
def test_a_size_nobody_knows(library: Library, size: str, message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load_model(f"faster-whisper:{size}")
    assert message in str(caught.value)
    if size == "smal":
        assert str(caught.value).endswith("not 'smal'; did you mean 'small'?")


def test_the_size_is_required(library: Library) -> None:
    with pytest.raises(ModelLoadError, match="the option 'size' is required and missing"):
        load_model("faster-whisper")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sing"}, "task must be one of transcribe, translate, not 'sing'"),
        ({"beam_size": 0}, "beam_size must be an integer of at least 1, not 0"),
        ({"workers": True}, "the option 'workers' must be an integer, got true"),
        ({"cpu_threads": -1}, "cpu_threads must be an integer of at least 0, not -1"),
    ],
)
def test_options_out_of_range(library: Library, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load_model("faster-whisper:tiny", options)
    assert message in str(caught.value)


def test_a_truth_value_is_no_number_of_workers(library: Library) -> None:
    with pytest.raises(ValueError, match=r"^workers must be an integer of at least 1, not True$"):
        FasterWhisper("tiny", workers=True)


def test_close_lets_the_weights_go(library: Library) -> None:
    model = FasterWhisper("tiny")
    model.warm_up()
    model.close()
    model.infer(SECOND)
    assert len(library.loaded) == 2


def test_the_installed_library_takes_what_we_give_it() -> None:
    library = pytest.importorskip(
        "faster_whisper", reason="faster-whisper is optional, and brings 300 MB: pip install 'voxgate[whisper]'"
    )
    model = FasterWhisper("tiny", language="en", words=True)
    inspect.signature(library.WhisperModel).bind(model._size, **model._loading)
    inspect.signature(library.WhisperModel.transcribe).bind(None, SECOND, **model._calling)
    from faster_whisper.transcribe import Segment, TranscriptionInfo, Word

    assert isinstance(library.WhisperModel.supported_languages, property)
    assert {"text", "words"} <= set(Segment.__annotations__)
    assert {"word", "start", "end", "probability"} <= set(Word.__annotations__)
    assert {"language", "language_probability"} <= set(TranscriptionInfo.__annotations__)
    with pytest.raises(ModelLoadError, match="did you mean 'small'"):
        load_model("faster-whisper:smal")
