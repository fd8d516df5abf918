"""The arithmetic of `make bench-turns`: its material, what finals say about turns, and what it promises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from voxgate import recordings

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """Its modules, by the end of their names."""
    before = list(sys.path)
    sys.path[:0] = [str(BENCH)]
    try:
        import turn_cases
        import turn_material
        import turn_player
        import turn_report
        import turn_score
        import turns

        yield SimpleNamespace(
            cases=turn_cases,
            material=turn_material,
            player=turn_player,
            report=turn_report,
            score=turn_score,
            turns=turns,
        )
    finally:
        sys.path[:] = before


# --- material ---


def test_the_words_are_those_of_the_recording(bench: Any):
    (said,) = recordings.truth("reading")
    for words, utterance in zip(bench.material.sentences(), said, strict=True):
        assert words[0][1] == utterance.start_s
        assert words[-1][2] == utterance.end_s
        letters = utterance.text.lower().replace("-", " ").strip(",.:")
        assert [word for word, _, _ in words] == [word.strip(",.:") for word in letters.split()]
        assert all(start_s < end_s for _, start_s, end_s in words)


def test_the_energy_ends_where_the_alignment_says(bench: Any):
    for number, words in enumerate(bench.material.sentences()):
        assert bench.material.energy_end_s(number) == pytest.approx(
            words[-1][2], abs=recordings.tolerance_s("reading") + 0.02
        )


def test_a_conversation_is_what_its_seed_says(bench: Any):
    one, again, other = (bench.material.conversation(seed, 20.0) for seed in (7, 7, 8))
    assert np.array_equal(one.samples, again.samples)
    assert one.turns == again.turns
    assert one.turns != other.turns
    assert bench.material.conversation(7, 20.0, bench.material.PHRASE_ENDS).turns != one.turns


def test_phrases_end_where_the_text_has_a_comma(bench: Any):
    words = bench.material.sentences()
    ends = [(words[i][j - 1][0], words[i][j][0]) for i in range(5) for j in bench.material.phrase_ends(i)]
    assert ends == [("woman", "he")]  # and the whole clip that ends in a comma


def test_at_phrase_ends_a_speaker_always_pauses_and_nowhere_else(bench: Any):
    material = bench.material
    n_pauses = set()
    for seed in range(6):
        for turn in material.conversation(seed, 20.0, material.PHRASE_ENDS).turns:
            spoken_s = turn.end_s - turn.start_s - sum(pause.end_s - pause.start_s for pause in turn.pauses)
            (number,) = (
                numbers
                for numbers in material.TURNS
                if abs(spoken_s - sum(material.sentences()[i][-1][2] - material.sentences()[i][0][1] for i in numbers))
                < 1e-3
            )
            assert len(turn.pauses) == {(1, 2): 1, (3,): 1}.get(number, 0)
            n_pauses.add((number, len(turn.pauses)))
    assert len(n_pauses) == len(material.TURNS)


@pytest.mark.parametrize("kind", ["pauses anywhere", "pauses at phrase ends"])
def test_pauses_are_inside_of_turns_and_silent(bench: Any, kind: str):
    material = bench.material
    low_s, high_s = material.PAUSE_S
    level = 10 ** (material.ROOM_DBFS / 20)
    n_pauses = 0
    for seed in range(12):
        script = material.conversation(seed, 20.0, kind)
        assert len(script.samples) >= 20.0 * material.RATE_HZ
        for turn, following in pairwise(script.turns):
            assert material.BETWEEN_S[0] <= following.start_s - turn.end_s - 2 * material.TAIL_S + 1e-3
        for turn in script.turns:
            for pause in turn.pauses:
                n_pauses += 1
                assert turn.start_s < pause.start_s < pause.end_s < turn.end_s
                assert low_s - 1e-3 <= pause.end_s - pause.start_s <= high_s + 1e-3
                middle = (pause.start_s + pause.end_s) / 2
                heard = script.samples[round((middle - 0.01) * 16_000) : round((middle + 0.01) * 16_000)]
                assert float(np.sqrt(np.mean(heard**2))) < 4 * level
    assert n_pauses > 10


def test_no_pause_is_inside_of_a_hyphenated_word_or_near_an_end(bench: Any):
    material = bench.material
    random = np.random.default_rng(1)
    for words in material.sentences():
        for _ in range(200):
            found = material.breaks(words, random)
            assert all(material.WORDS_APART <= index <= len(words) - material.WORDS_APART for index in found)
            assert all(later - earlier >= material.WORDS_APART for earlier, later in pairwise(found))
            assert not any((words[i - 1][0], words[i][0]) == ("ill", "disposed") for i in found)


@pytest.fixture
def prompts(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One sentence of two words, with a pause of 0.2 s and a closure of 0.1 s."""
    import turn_prompts

    loud, quiet = np.full(4800, 0.25, np.float32), np.full(800, 0.001, np.float32)
    silent = np.zeros(1600, np.float32)
    samples = np.concatenate([silent, loud, silent, loud, silent, silent, loud, quiet, silent])
    soundfile.write(tmp_path / "a.flac", samples, 16_000)
    monkeypatch.setattr(turn_prompts, "DIRECTORY", tmp_path)
    turn_prompts.spoken.cache_clear()
    yield turn_prompts
    turn_prompts.spoken.cache_clear()


def test_a_prompt_begins_and_ends_where_it_is_audible_and_pauses_where_it_is_not(prompts: Any):
    samples, pauses = prompts.spoken("a")
    assert len(samples) == 3 * 4800 + 3 * 1600
    assert pauses == ((pytest.approx(0.7), pytest.approx(0.9)),)


def test_prompts_pause_as_spoken_or_longer(bench: Any, prompts: Any):
    material = bench.material
    spoken, longer = (material.prompts(3, ["a", "a"], are_longer=are_longer) for are_longer in (False, True))
    for script in (spoken, longer):
        assert len(script.turns) == 2
        assert all(len(turn.pauses) == 1 for turn in script.turns)
        for turn in script.turns:
            (pause,) = turn.pauses
            assert pause.start_s - turn.start_s == pytest.approx(0.7, abs=1e-3)
            assert turn.end_s - pause.end_s == pytest.approx(0.3, abs=1e-3)
    assert [turn.end_s - turn.start_s for turn in spoken.turns] == pytest.approx([1.2, 1.2], abs=1e-3)
    assert all(material.PAUSE_S[0] <= pause.end_s - pause.start_s for turn in longer.turns for pause in turn.pauses)


def test_the_halves_of_the_prompts_share_nothing(bench: Any):
    import turn_prompts

    halves = [set(turn_prompts.half(number)) for number in turn_prompts.HALVES]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == set(turn_prompts.SENTENCES)
    assert len(turn_prompts.SENTENCES) == 131


def test_a_shorter_reading_has_fewer_turns(bench: Any):
    assert [turn.end_s for turn in bench.material.reading().turns] == [7.39, 17.78, 24.82, 29.06]
    short = bench.material.reading(16.0)
    assert len(short.samples) == 256_000
    assert [turn.end_s for turn in short.turns] == [7.39]


def test_frames_hold_every_sample(bench: Any):
    script = bench.material.reading()
    assert len(bench.player.frames_of(script)) == -(-len(script.samples) // 320)


# --- score ---


def script(bench: Any, *turns: tuple[float, float]) -> Any:
    return bench.material.Script(np.zeros(0, np.float32), tuple(bench.material.Turn(*turn) for turn in turns))


def final(bench: Any, start_s: float, end_s: float, arrived_s: float) -> Any:
    return bench.score.Final(start_s, end_s, arrived_s)


def test_a_final_is_timed_from_the_last_word_and_from_the_end_of_the_silence(bench: Any):
    score = bench.score.Score()
    score.add(script(bench, (1.0, 4.0)), [final(bench, 0.4, 4.05, 4.7)], 600)
    assert score.latencies_s == pytest.approx([0.7])
    assert score.beyond_s == pytest.approx([4.7 - 4.05 - 0.608])
    assert (score.n_turns, score.n_cut_turns, score.n_cuts, score.n_lost, score.n_together) == (1, 0, 0, 0, 0)


def test_a_segment_that_ends_inside_of_a_turn_is_a_cut(bench: Any):
    score = bench.score.Score()
    finals = [final(bench, 0.4, 2.0, 2.7), final(bench, 2.2, 2.9, 3.6), final(bench, 2.9, 3.9, 4.6)]
    score.add(script(bench, (1.0, 4.0)), finals, 600)
    assert (score.n_cut_turns, score.n_cuts) == (1, 2)
    assert score.latencies_s == pytest.approx([0.6])


def test_turns_in_one_segment_have_run_together(bench: Any):
    score = bench.score.Score()
    score.add(script(bench, (1.0, 4.0), (5.0, 6.0)), [final(bench, 0.4, 6.0, 6.7)], 600)
    assert score.n_together == 1
    assert score.latencies_s == pytest.approx([0.7])


def test_a_turn_without_a_final_is_lost(bench: Any):
    score = bench.score.Score()
    score.add(script(bench, (1.0, 4.0), (7.0, 8.0)), [final(bench, 0.4, 4.0, 4.7)], 600)
    assert score.n_lost == 1


def test_times_count_inside_of_the_window_alone(bench: Any):
    score = bench.score.Score()
    finals = [final(bench, 0.4, 2.0, 2.7), final(bench, 4.2, 5.0, 5.8), final(bench, 7.0, 8.0, 8.9)]
    score.add(script(bench, (1.0, 2.0), (4.2, 5.0), (7.1, 8.0)), finals, 600, 3.0, 8.0)
    assert score.latencies_s == pytest.approx([0.8])
    assert score.finals_s == pytest.approx([0.8])
    assert score.n_turns == 3


@pytest.mark.parametrize(("silence_ms", "window_s"), [(600, 0.608), (400, 0.416), (200, 0.224), (320, 0.32)])
def test_a_silence_is_a_number_of_frames(bench: Any, silence_ms: int, window_s: float):
    assert bench.score.silence_window_s(silence_ms) == pytest.approx(window_s)


def test_an_interval_holds_the_share(bench: Any):
    assert bench.score.interval(0, 137) == pytest.approx((0.0, 0.0273), abs=1e-4)
    assert bench.score.interval(8, 131) == pytest.approx((0.0313, 0.1159), abs=1e-4)
    assert bench.score.interval(4, 4) == pytest.approx((0.5101, 1.0), abs=1e-4)
    assert bench.score.interval(0, 0) == (0.0, 1.0)


# --- loads and calls ---


def test_metrics_are_added_up_over_workers(bench: Any):
    found = {
        'voxgate_queue_wait_seconds_count{lane="final",worker="0"}': 3.0,
        'voxgate_queue_wait_seconds_count{lane="speculative",worker="0"}': 5.0,
        'voxgate_queue_wait_seconds_count{lane="final",worker="1"}': 4.0,
        'voxgate_stage_seconds_sum{stage="model",worker="0"}': 1.5,
        'voxgate_stage_seconds_sum{stage="vad",worker="0"}': 9.0,
        'voxgate_speculations_total{outcome="used",worker="0"}': 2.0,
    }
    counted = bench.turns.counted(found)
    assert counted["calls"] == {"final": 7, "speculative": 5, "interim": 0}
    assert counted["speculations"]["used"] == 2
    assert counted["model_s"] == 1.5
    assert bench.turns.busy({**found, "time": 3.0}, bench.cases.FIXED) == 0.25


def test_the_number_of_streams_makes_the_load(bench: Any):
    # Each turn takes 0.4 s of a model with two threads.
    row = _row("300 ms", bench.cases.BASE, 0, n_streams=10) | {"model_s": 0.4 * 120}
    n_streams = bench.turns.streams_for(80, bench.cases.FIXED, [row], 20.0)
    busy = n_streams * 0.4 / bench.turns.cycle_s(20.0) / 2
    assert busy == pytest.approx(0.8, abs=0.02)


def test_settings_of_smart_turn_need_its_file(bench: Any):
    names = [setting.name for setting in bench.cases.settings(None)]
    assert names == [
        "silence 600 ms", "silence 400 ms", "silence 200 ms", "speculation", "text", "text, early speculation",
    ]  # fmt: skip
    found = {setting.name: setting for setting in bench.cases.settings(Path("/x.onnx"))}
    assert found["smart-turn, early speculation"].settings == {
        "turn.detector": "smart-turn:/x.onnx", "vad.speculate_ms": 32,
    }  # fmt: skip
    assert bench.cases.server_settings(bench.cases.FIXED, found["text"])["model.words"] == "true"


def test_a_whole_run_takes_less_than_twelve_minutes(bench: Any):
    settings = bench.cases.settings(Path("/x.onnx"))
    lengths = bench.turns.Lengths(bench.turns.SECONDS, bench.turns.LOADED_SECONDS)
    planned = bench.turns.plan(bench.cases.MODELS, settings, lengths, [], True)
    assert sum(run_s for _, run_s in planned) < 12 * 60
    assert len(planned) == 20
    some = bench.turns.plan(bench.cases.MODELS, settings, lengths, ["300 ms, text"], False)
    assert [name for name, _ in some] == [
        "moonshine, 0 %: silence 600 ms", "moonshine, 50 %: silence 600 ms", "moonshine, 80 %: silence 600 ms",
        "300 ms, 0 %: silence 600 ms; text, early speculation",
        "300 ms, 80 %: silence 600 ms", "300 ms, 80 %: text, early speculation",
    ]  # fmt: skip


def test_each_material_has_its_score(bench: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench.material, "KINDS", (bench.material.PHRASE_ENDS, bench.material.ANYWHERE))

    def played(number: int, *ends_s: float) -> Any:
        said = bench.material.Script(
            np.zeros(0, np.float32), (bench.material.Turn(1.0, 4.0, (bench.material.Pause(2.0, 2.6),)),)
        )
        part = bench.player.Part("", said, (), 0.0)
        return bench.player.Played(part, [final(bench, end_s - 1, end_s, end_s + 0.5) for end_s in ends_s])

    (setting,) = (setting for setting in bench.cases.settings(None) if setting.name == bench.cases.BASE)
    streams = [played(0, 4.0), played(1, 4.0), played(2, 4.0), played(3, 2.0, 4.0), played(4, 4.0)]
    found = bench.turns.scored(streams, setting, (0.0, 9.0))
    counts = {name: (some["n_turns"], some["n_cut_turns"]) for name, some in found.items()}
    assert counts == {
        "reading": (2, 0), "pauses at phrase ends": (2, 0), "pauses anywhere": (1, 1), "conversation": (3, 1),
    }  # fmt: skip


def test_a_run_that_fails_writes_nothing(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    out = tmp_path / "turns.json"
    out.write_text("{}")
    monkeypatch.setattr(bench.turns, "measure", interrupted)
    monkeypatch.setattr(sys, "argv", ["turns.py", "--quick", "--out", str(out)])
    with pytest.raises(KeyboardInterrupt):
        bench.turns.main()
    assert list(tmp_path.iterdir()) == []


# --- promises ---


ANSWERS = {"finished": 3, "late": 1, "failed": 0, "refused": 0, "no_text": 0}


def _quantiles(p50: float) -> dict[str, float]:
    return {"p50": p50, "p95": p50, "p99": p50}


def _row(model: str, setting: str, load: int, *, p50: float = 300.0, n_cut: int = 0, **values: Any) -> dict[str, Any]:
    talk = {
        "latency_ms": _quantiles(p50), "beyond_ms": _quantiles(p50 - 290), "final_ms": _quantiles(p50),
        "n_turns": 100, "n_cut_turns": n_cut, "n_pauses": 150, "n_cuts": n_cut, "n_together": 0, "n_lost": 0,
    }  # fmt: skip
    return {
        "model": model, "setting": setting, "load": load, "n_streams": 10, "conversation": talk,
        "pauses anywhere": {**talk, "n_cut_turns": 40}, "pauses at phrase ends": talk,
        "reading": {**talk, "n_turns": 20, "n_cut_turns": 0}, "calls": {"final": 100, "speculative": 20, "interim": 0},
        "speculations": {}, "answers": ANSWERS, "model_s": 12.0, "busy": 0.5, "cores": 0.1, "late_p99_ms": 2.0,
        **values,
    }  # fmt: skip


def _report(rows: list[dict[str, Any]], saturation: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rows": rows, "saturation": saturation, "when": "2026-01-01", "commit": "abc", "took_s": 900, "quick": False,
        "partial": False, "machine": {"cpus": 2, "cpu": "a CPU", "python": "3"}, "versions": {},
        "material": {"energy_ends_ms": [0, -10]},
    }  # fmt: skip


def test_promises_that_were_not_measured_are_neither_kept_nor_broken(bench: Any):
    report = _report([], [])
    assert [found.is_kept for found in bench.report.criteria(report)] == [None] * 10
    assert bench.report.promises_table(report)[3] == "| smart-turn, reading | 350 ms |  |  | not measured |"


def test_promises_are_kept_or_broken_by_the_numbers(bench: Any):
    def verdicts(p50: float, n_cut: int, p99_with: float) -> list[bool | None]:
        rows = [
            _row("moonshine", "speculation", 50, p50=p50),
            _row("moonshine", "smart-turn", 0, p50=900.0),
            _row("moonshine", "smart-turn, early speculation", 0, p50=p50, n_cut=n_cut),
        ]
        saturated = [
            _row("300 ms", bench.cases.BASE, 100, p50=1000.0),
            _row("300 ms", "speculation", 100, p50=p99_with),
        ]
        return [found.is_kept for found in bench.report.criteria(_report(rows, saturated))]

    # At 50 % load; smart-turn on the reading, at phrase ends, on prompts and anywhere; text, not measured; saturated.
    assert verdicts(300.0, 3, 1050.0) == [True, True, True, None, False, None, None, None, None, True]
    assert verdicts(351.0, 0, 1051.0) == [False, False, False, None, False, None, None, None, None, False]
    assert verdicts(300.0, 4, 500.0) == [True, True, False, None, False, None, None, None, None, True]


def test_a_promise_names_its_setting_and_its_material(bench: Any):
    setting = "smart-turn, early speculation"
    rows = [_row("moonshine", setting, 0, n_cut=2)]
    saturated = [_row("300 ms", name, 100, p50=1000.0) for name in (bench.cases.BASE, "speculation")]
    table = bench.report.promises_table(_report(rows, saturated))
    assert [line for line in table[2:] if "not measured" not in line] == [
        f"| {setting}, reading | 350 ms | 300 ms | 0 of 20 (0 to 16 %) | yes |",
        f"| {setting}, pauses at phrase ends | 350 ms | 300 ms | 2 of 100 (1 to 7 %) | yes |",
        f"| {setting}, pauses anywhere | 350 ms | 300 ms | 40 of 100 (31 to 50 %) | **no** |",
        "| 300 ms, saturated: p99 of the finals with speculation, limit: without it, and noise | 1000 + 50 ms "
        "| 1000 ms |  | yes |",
    ]


def test_cuts_are_counted_without_a_clock_where_they_were(bench: Any):
    report = _report([_row("moonshine", "smart-turn, early speculation", 0, n_cut=4)], [])
    for n_cut, is_kept in ((4, True), (5, False)):
        report["decided"] = {"smart-turn": {"pauses at phrase ends": (n_cut, 137)}}
        (found,) = (found for found in bench.report.criteria(report) if "ends" in found.promise and found.cut)
        assert found.cut.startswith(f"{n_cut} of 137 (")
        assert found.is_kept is is_kept


def test_the_table_has_a_row_for_each_setting_and_a_column_for_each_load(bench: Any):
    rows = [
        _row("moonshine", "silence 600 ms", 0),
        _row("moonshine", "smart-turn", 0, n_cut=5),
        _row("moonshine", "silence 600 ms", 80, p50=400.0, n_streams=70),
        _row("moonshine", "smart-turn", 80, p50=500.0, n_streams=70),
        _row("300 ms", "silence 600 ms", 0),
    ]
    rows[0]["answers"] = rows[2]["answers"] = dict.fromkeys(ANSWERS, 0)
    assert bench.report.full_table(rows) == [
        "| moonshine: last word to final, p50 / p95 | 10 streams, light load | 70 streams, 80 % load "
        "| model calls a sentence | answers in time |",
        "|---|---|---|---|---|",
        "| silence 600 ms | 300 / 300 ms | 400 / 400 ms | 1.00 |  |",
        "| smart-turn | 300 / 300 ms | 500 / 500 ms | 1.00 | 75 % / 75 % |",
    ]
    assert bench.report.markdown(_report(rows, [])).count("last word to final, p50 / p95") == 1
    short = bench.report.short_table(_report([_row("moonshine", "speculation", load) for load in (0, 80)], []))
    assert short[-1] == "| speculation | 300 ms | 300 ms | 1.00 |"
