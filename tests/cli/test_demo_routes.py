"""The demo shows each route, and the detected utterances beside the spoken ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.demo_server import demo_server
from helpers.demo_verb import show
from voxgate import recordings


@pytest.mark.parametrize("name", ["demo", "stereo"])
def test_a_good_server(name: str) -> None:
    code, out = show(demo_server(name), "--file", name)
    assert code == 0
    n_said = sum(len(utterances) for utterances in recordings.truth(name))
    for word in ("active", "inactive", "interim", "final", "segment"):
        assert word in out
    assert f"✓ {n_said} of {n_said} utterances detected, at most 20 ms off" in out
    assert out.count(", spoken ") == n_said
    assert "✓ 2 results cover all 12.50 s" in out or "✓ 4 results cover all 8.00 s of 2 channels" in out
    assert out.rstrip().endswith("✓ all checks passed")
    assert "✗" not in out
    assert "\x1b" not in out
    assert ("ch 1" in out) == (name == "stereo")


@pytest.mark.parametrize(
    ("routes", "shown"),
    [
        (("segmented", "simple"), ["segmented", "simple"]),
        (("segmented", "simple", "stateful"), ["segmented", "stateful"]),
        (("stateful",), ["stateful"]),
    ],
)
def test_the_routes_that_the_server_takes_are_shown(routes: Sequence[str], shown: list[str]) -> None:
    code, out = show(demo_server(routes=routes))
    assert (code, "✗" in out) == (0, False)
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith(("se", "si", "stateful"))] == shown
    assert ("at most 20 ms off" in out) == ("(vad: prefix_padding_ms 0)" in out) == ("segmented" in shown)
    if "stateful" in shown:
        assert "pitch_hz [101 items, 100 to 199]" in out
        assert "total 7" in out  # the closing result, though it is in the same second
        assert "✓ 2 results cover all 12.50 s" in out


def test_detected_stands_beside_spoken() -> None:
    _, out = show(demo_server())
    assert "✓ detected  0.72– 3.13 s, spoken  0.70– 3.11 s  “Good morning! Did the boat arrive?”" in out
    assert (
        "spoken: “Good morning! Did the boat arrive?” “Yeah, and everybody liked it.”" in out
    )  # beside simple results


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (demo_server(late_s=0.15), "✗ 4 of 4 utterances detected, at most 150 ms off"),
        (demo_server(lose=1), "✗ not detected, spoken 0.70–3.11 s  “Good morning! Did the boat arrive?”"),
        (demo_server(fail=True), "no luck (inference_failed)"),
    ],
)
def test_what_goes_wrong_is_shown_and_exits_with_1(command: list[str], text: str) -> None:
    code, out = show(command)
    assert code == 1
    assert text in out
    assert out.rstrip().endswith("✗ something went wrong, see above")


def test_a_file_of_ones_own_has_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "own.flac"
    path.write_bytes(recordings.path("demo").read_bytes())
    code, out = show(demo_server(), "--file", str(path))
    assert code == 0
    assert "utterances detected" not in out
    assert "spoken" not in out
