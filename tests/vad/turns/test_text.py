"""What punctuation says about the end of a turn."""

from __future__ import annotations

import numpy as np
import pytest

from voxgate.vad.turns import TurnConfig, TurnQuestion
from voxgate.vad.turns.text import FINISHED, UNFINISHED, UNKNOWN, TextTurns

NO_AUDIO = np.zeros(1, np.float32)


def judged(*texts: str | None) -> list[float]:
    return list(TextTurns().judge([TurnQuestion(NO_AUDIO, text) for text in texts]))


@pytest.mark.parametrize(
    "text",
    [
        *("So it is.", "Is it?", "Go!", "He said “go.”", "(Yes.)", "All of it (really).", "In 1984. ", "yes?!"),
        *("好的。", "真的吗？", "走！", "「はい。」", "ठीक है।", "حقا؟", "End．", "Oh no.", "Call me at ten."),
    ],
)
def test_finished(text):
    assert judged(text) == [FINISHED]


@pytest.mark.parametrize(
    "text", ["I mean,", "Well...", "Well…", "Wait. . ..", "so -", "one;", "他说，", "and –", 'He said, "']
)
def test_more_will_come(text):
    assert judged(text) == [UNFINISHED]


@pytest.mark.parametrize(
    "text",
    ["", "   ", "so it is", "call Dr.", "Mr.", "at 5 p.m.", "e.g.", "John F.", "(Prof.", "z.B.", "嗯", '"', None],
)
def test_nobody_knows(text):
    assert judged(text) == [UNKNOWN]


def test_text_that_says_nothing_leaves_it_to_silence():
    by_default = TurnConfig("text")
    assert by_default.unfinished_threshold <= UNKNOWN < by_default.threshold


def test_each_question_has_its_answer():
    assert judged("Yes.", "no", "and,") == [FINISHED, UNKNOWN, UNFINISHED]
