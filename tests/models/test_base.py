from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import voxgate
from voxgate.models.base import Batch, Model


def items(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("lengths", [(3,), (3, 1), (1, 3), (0, 2), (0, 0), (5, 5, 5), (160, 7, 320, 0)])
def test_gather_pads_with_zeros_and_keeps_every_sample(lengths: tuple[int, ...]) -> None:
    audios = items(*lengths)
    batch = Batch.gather(audios)
    assert batch.audio.dtype == np.float32
    assert batch.audio.shape == (len(lengths), max(lengths))
    assert batch.audio.flags.c_contiguous
    assert batch.lengths.dtype == np.int64
    assert batch.lengths.tolist() == list(lengths)
    for row, audio in zip(batch.audio, audios, strict=True):
        np.testing.assert_array_equal(row[: len(audio)], audio)
        assert not row[len(audio) :].any()


def test_a_batch_iterates_over_views_without_padding() -> None:
    audios = items(4, 2)
    batch = Batch.gather(audios)
    assert len(batch) == 2
    for view, audio in zip(batch, audios, strict=True):
        np.testing.assert_array_equal(view, audio)
        assert view.base is not None
        assert view.flags.c_contiguous
    batch[1][0] = 0.5
    assert batch.audio[1, 0] == 0.5
    with pytest.raises(IndexError):
        batch[2]


def test_gather_copies() -> None:
    audios = items(4, 4)
    Batch.gather(audios).audio[:] = 9
    assert max(audio.max() for audio in audios) <= 1


def test_gather_of_strided_input() -> None:
    (audio,) = items(10)
    np.testing.assert_array_equal(Batch.gather([audio[::2]])[0], audio[::2])


@pytest.mark.parametrize(
    ("audio", "lengths", "message"),
    [
        (np.zeros(3, np.float32), np.zeros(1, np.int64), r"float32 of shape \(3,\)"),
        (np.zeros((1, 3)), np.zeros(1, np.int64), "not float64"),
        (np.zeros((3, 2), np.float32).T, np.zeros(2, np.int64), "C-contiguous"),
        (np.zeros((2, 3), np.float32), np.zeros(1, np.int64), r"shape \(2,\), not int64 of shape \(1,\)"),
        (np.zeros((1, 3), np.float32), np.zeros(1, np.int32), "not int32"),
        (np.zeros((1, 3), np.float32), np.array([4]), r"0\.\.3, the width of audio, not 4\.\.4"),
        (np.zeros((1, 3), np.float32), np.array([-1]), r"not -1\.\.-1"),
    ],
)
def test_arrays_of_another_form_are_refused(audio: np.ndarray, lengths: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch(audio, lengths)


class Counter(Model):
    def infer(self, audio: np.ndarray) -> dict[str, int]:
        return {"count": len(audio)}


class BatchCounter(Counter):
    name = "batch-counter"

    def infer_batch(self, batch: Batch) -> list[dict[str, int]]:
        return [{"count": int(n)} for n in batch.lengths]


def test_defaults_of_a_model() -> None:
    model = Counter()
    assert (model.sample_rate, model.threads, model.holds_gil, model.needs_process) == (16_000, None, False, None)
    assert model.name == "Counter"
    assert BatchCounter.name == "batch-counter"
    assert not model.batches
    assert not model.stateful
    assert model.open() is None
    assert model.finish(None) is None
    model.warm_up()
    model.close()


def test_batches_says_whether_infer_batch_is_defined() -> None:
    assert BatchCounter().batches
    assert Counter().infer_batch(Batch.gather(items(3, 1))) == [{"count": 3}, {"count": 1}]


def test_stateful_says_whether_step_is_defined() -> None:
    class Stepper(Model):
        def step(self, audio: np.ndarray, state: object) -> None:
            return None

    assert Stepper().stateful


@pytest.mark.parametrize("call", [lambda m: m.infer(items(1)[0]), lambda m: m.step(items(1)[0], None)])
def test_what_a_model_does_not_define_says_so(call: object) -> None:
    with pytest.raises(NotImplementedError, match="Model defines no"):
        call(Model())  # type: ignore[operator]


def test_the_package_exports_the_contract() -> None:
    assert voxgate.Model is Model
    assert voxgate.Batch is Batch
    assert issubclass(voxgate.InferenceError, Exception)
    assert set(voxgate.__all__) <= set(dir(voxgate))
    with pytest.raises(AttributeError, match="'voxgate' has no attribute 'Modell'"):
        voxgate.Modell  # noqa: B018


def test_importing_is_cheap() -> None:
    code = (
        "import sys, voxgate; assert 'numpy' not in sys.modules, 'voxgate';"
        "voxgate.Model; bad = {'numba', 'starlette', 'uvicorn', 'asyncio', 'importlib.metadata'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
