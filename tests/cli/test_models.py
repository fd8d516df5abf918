"""``voxgate models`` and ``voxgate models check``: what they print and refuse."""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from voxgate import recordings
from voxgate.cli import main
from voxgate.cli.models import listed

NAMES = [
    "dummy",
    "faster-whisper:SIZE",
    "features",
    "moonshine",
    "onnx:PATH",
    "openai:URL",
    "pitch",
    "pocketsphinx",
    "wakeword",
]

QUICK = ("--set", "model.delay=0.001", "--set", "model.constant_factor=0", "--set", "model.jitter=0")
DUMMY = ("check", "dummy", *QUICK, "--set", "model.panic_rate=0", "--seconds", "0")


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["models", *args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    code, out, err = run(capsys, "--format", "jsonl")
    assert (code, err) == (0, "")
    return {row["name"]: row for row in map(json.loads, out.splitlines())}


# --- the list ---


def test_the_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "name"
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == NAMES
    assert max(map(len, lines)) <= 160
    assert "Any ONNX model that takes a" in out


def test_the_list_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys)
    assert list(found) == NAMES
    assert list(found["dummy"]) == ["name", "about", "needs", "routes", "calls", "available"]
    assert found["dummy"]["routes"] == ["simple", "segmented"]
    assert found["dummy"]["calls"].startswith("64")
    assert (found["dummy"]["needs"], found["dummy"]["available"]) == ("", True)
    assert found["pitch"]["routes"][-1] == "stateful"
    assert found["features"]["calls"] == "one for each CPU"
    assert found["onnx:PATH"]["calls"] == "one for each CPU, in batches"
    assert found["pocketsphinx"]["calls"] == "one for each worker process (holds the GIL)"
    assert all(row["about"].endswith(".") for row in found.values())


def test_what_is_missing_gets_its_install_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("onnxruntime", "pocketsphinx", "faster_whisper", "httpx", "pymicro_wakeword"):
        monkeypatch.setitem(sys.modules, module, None)
    found = rows(capsys)
    assert {name: row["needs"] for name, row in found.items() if not row["available"]} == {
        "onnx:PATH": "pip install 'voxgate[onnx]'",
        "openai:URL": "pip install 'voxgate[openai]'",
        "pocketsphinx": "pip install 'voxgate[pocketsphinx]'",
        "faster-whisper:SIZE": "pip install 'voxgate[whisper]'",
        "wakeword": "pip install 'voxgate[wakeword]'",
    }
    assert "pip install 'voxgate[whisper]'" in run(capsys)[1]


def test_models_of_other_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "listed_models.py").write_text(
        "import voxgate\n"
        "class Mine(voxgate.Model):\n"
        "    '''Hears\n    things.\n\n    More.'''\n"
        "    threads = 1\n"
        "    def __init__(self, place, *, gain=1): pass\n"
        "    def infer(self, audio): return {}\n"
        "    def infer_batch(self, batch): return []\n"
        "def function(audio): return {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    points = {"mine": "listed_models:Mine", "f": "listed_models:function", "gone": "listed_models:Nothing"}

    def fake(group: str) -> list[metadata.EntryPoint]:
        return [metadata.EntryPoint(name, value, group) for name, value in points.items()]

    monkeypatch.setattr(metadata, "entry_points", fake)
    found = rows(capsys)
    monkeypatch.delitem(sys.modules, "listed_models")
    assert found["mine:PLACE"] == {
        "name": "mine:PLACE",
        "about": "Hears things.",
        "needs": "",
        "routes": ["simple", "segmented"],
        "calls": "one, in batches",
        "available": True,
    }
    assert (found["f"]["routes"], found["f"]["available"]) == ([], True)
    assert found["gone"]["about"].startswith("cannot be imported: AttributeError: ")
    assert found["gone"]["available"] is False


def test_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgate.cli.models import _table

    lines = _table([listed("dummy", "voxgate.models.dummy:Dummy")], 80)
    assert max(map(len, lines)) <= 80
    assert "A fake model with knobs" in " ".join(lines)


# --- the check ---


def test_a_check_reads_like_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *DUMMY)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "dummy: 16000 Hz, for the simple and segmented routes"
    assert lines[1].startswith("  loaded in ")
    for said in recordings.truth("demo")[0]:
        place = next(i for i, line in enumerate(lines) if said.text in line)
        assert lines[place + 1].startswith("    count ")
    marked = [line.split()[1] for line in lines if line.startswith(("  ✓ ", "  ! "))]
    assert marked == ["speed", "GIL", "batches", "two"]
    after = lines[lines.index("settings that suit it here") + 1 :]
    assert [line.split(" = ")[0].strip() for line in after] == ["inference.engine", "inference.threads"]


def test_a_check_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *DUMMY, "--format", "jsonl")
    assert (code, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    assert (found["model"], found["ok"], found["sample_rate"]) == ("dummy", True, 16_000)
    assert [said["text"] for said in found["said"]] == [said.text for said in recordings.truth("demo")[0]]
    assert found["said"][3]["answer"] == {"count": 25_440}
    assert found["gil"]["verdict"] in ("releases", "shares", "holds", "unknown")
    assert found["settings"].keys() >= {"inference.engine"}
    assert found["speed"]["real_time_factor"] > 0


def test_a_model_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("check", "dummy", *QUICK, "--set", "model.failure_rate=1", "--seconds", "0")
    code, out, _ = run(capsys, *args)
    assert code == 1
    assert "infer failed on 'Good morning! Did the boat arrive?': InferenceError: Unexpected inference failure" in out
    code, out, _ = run(capsys, *args, "--format", "jsonl")
    assert code == 1
    assert json.loads(out)["ok"] is False


def test_the_model_is_closed_whatever_happens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxgate.models.dummy import Dummy

    closed = []
    monkeypatch.setattr(Dummy, "close", lambda self: closed.append(self))
    run(capsys, *DUMMY)
    run(capsys, *DUMMY, "--set", "model.failure_rate=1")
    assert len(closed) == 2


def test_the_model_of_a_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "voxgate.toml").write_text(
        '[model]\nname = "dummy"\ndelay = 0\nconstant_factor = 0\njitter = 0\npanic_rate = 0\n'
    )
    config = str(tmp_path / "voxgate.toml")
    assert run(capsys, "check", "--config", config, "--seconds", "0")[0] == 0
    code, out, _ = run(capsys, "check", "--config", config, "--seconds", "0", "--set", "model.panic_rate=1")
    assert code == 1
    assert "RuntimeError: Inference catastrophically failed" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("check",), "expected the NAME of a model, or --config FILE"),
        (("check", "featurse"), "did you mean 'features'?"),
        (("check", "dummy", "--set", "vad.threshold=0.5"), "--set vad.threshold=0.5: expected model.KEY=VALUE"),
        (("check", "dummy", "--set", "model.delay"), "--set model.delay: expected model.KEY=VALUE"),
        (("check", "dummy", "--set", "model.dealy=1"), "unknown option 'dealy'"),
        (("check", "dummy", "--set", "model.crash_rate=1"), "must not run in this process, because crash_rate is 1.0"),
        (("check", "onnx:nowhere.onnx"), "expected the path of a file, but there is none at"),
    ],
)
def test_what_cannot_be_checked(capsys: pytest.CaptureFixture[str], args: tuple[str, ...], message: str) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("seconds", ["-1", "x", "nan", "4000"])
def test_seconds_out_of_range(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["models", "check", "dummy", "--seconds", seconds])
    assert caught.value.code == 2
    assert "expected a number of 0 to 3600" in capsys.readouterr().err
