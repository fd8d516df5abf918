"""Human speech for the questions of turn detectors: the prompts of a telephone system, one whole sentence each.

They are spoken to somebody, and not read from a book: Allison Smith's prompts for Asterisk (CC-BY-SA-3.0), at 16 kHz
in Debian's package `asterisk-core-sounds-en-g722`. `make turn-prompts` decodes them into build/turn-prompts (this file
is the program for it, with the unpacked package as its argument); nothing of them is in this repository.

SENTENCES are all prompts of one whole sentence with a verb. Prompts of several sentences are left out, also those that
a comma joins ("That option is invalid, please try again"), because somebody may answer after the first; so are words
and parts of sentences ("You are currently caller number"). The sentences are divided in two by turns (HALVES): settings
are chosen on one half, and reported on the other.

A pause is where the speaker paused: SHORTEST_PAUSE_S below the level of the room. The end of a sentence is where it
sinks below this level for good.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ = 16_000
DIRECTORY = Path(__file__).parents[1] / "build" / "turn-prompts"
HALVES = (0, 1)
SHORTEST_PAUSE_S = 0.12
"""Longer than the closure of a plosive."""
AUDIBLE_DBFS = -48.0
"""The level of the room that bench/turn_material.py adds."""
WINDOW_SAMPLES = RATE_HZ // 100

Samples = npt.NDArray[np.float32]

SENTENCES = (
    "agent-newlocation", "agent-pass", "all-circuits-busy-now", "cannot-complete-as-dialed",
    "check-number-dial-again", "conf-adminmenu", "conf-adminmenu-162", "conf-adminmenu-18",
    "conf-adminmenu-menu8", "conf-extended", "conf-full", "conf-getchannel", "conf-getconfno", "conf-getpin",
    "conf-invalidpin", "conf-kicked", "conf-leaderhasleft", "conf-locked", "conf-lockednow", "conf-noempty",
    "conf-nonextended", "conf-now-muted", "conf-now-recording", "conf-now-unmuted", "conf-onlyone",
    "conf-onlyperson", "conf-placeintoconf", "conf-roll-callcomplete", "conf-unlockednow", "conf-usermenu",
    "conf-usermenu-162", "conf-waitforleader", "confbridge-begin-glorious-a", "confbridge-begin-glorious-b",
    "confbridge-begin-glorious-c", "confbridge-begin-leader", "confbridge-conf-begin", "confbridge-conf-end",
    "confbridge-invalid", "confbridge-lock-no-join", "confbridge-locked", "confbridge-only-one",
    "confbridge-only-participant", "confbridge-pin", "confbridge-pin-bad", "confbridge-removed",
    "confbridge-unlocked", "confbridge-unmuted", "demo-echodone", "demo-enterkeywords", "demo-nomatch",
    "dictate/enter_filename", "dictate/forhelp", "dir-multi9", "dir-nomatch", "dir-nomore", "dir-usingkeypad",
    "dir-welcome", "enter-num-blacklist", "entr-num-rmv-blklist", "feature-not-avail-line",
    "followme/no-recording", "followme/options", "followme/pls-hold-while-try", "followme/sorry",
    "number-not-answering", "pbx-parkingfailed", "please-try-call-later", "pls-hold-while-try",
    "priv-recordintro", "privacy-incorrect", "privacy-prompt", "privacy-unident", "queue-thankyou",
    "queue-youarenext", "simul-call-limit-reached", "something-terribly-wrong", "speed-dial-empty", "transfer",
    "tt-monkeysintro", "tt-somethingwrong", "tt-weasels", "vm-advopts", "vm-calldiffnum", "vm-delete",
    "vm-dialout", "vm-enter-num-to-call", "vm-forward-multiple", "vm-forwardoptions", "vm-helpexit",
    "vm-leavemsg", "vm-mailboxfull", "vm-msgforwarded", "vm-msgsaved", "vm-newpassword", "vm-next",
    "vm-nobodyavail", "vm-nobox", "vm-nonumber", "vm-passchanged", "vm-prev", "vm-reachoper", "vm-rec-busy",
    "vm-rec-name", "vm-rec-temp", "vm-rec-unv", "vm-reenterpassword", "vm-repeat", "vm-review-nonurgent",
    "vm-review-urgent", "vm-savefolder", "vm-sorry", "vm-star-cancel", "vm-starmain", "vm-tempgreetactive",
    "vm-tempgreeting", "vm-tempgreeting2", "vm-tempremoved", "vm-tmpexists", "vm-tocallback", "vm-tocallnum",
    "vm-tocancelmsg", "vm-toenternumber", "vm-toforward", "vm-tohearenv", "vm-tomakecall", "vm-tooshort",
    "vm-toreply", "vm-torerecord", "vm-undelete", "vm-whichbox",
)  # fmt: skip


def are_here() -> bool:
    """Whether `make turn-prompts` has run."""
    return DIRECTORY.is_dir() and all((DIRECTORY / f"{name}.flac").is_file() for name in SENTENCES)


def half(number: int) -> tuple[str, ...]:
    """Every other sentence."""
    return SENTENCES[number :: len(HALVES)]


@cache
def spoken(name: str) -> tuple[Samples, tuple[tuple[float, float], ...]]:
    """From the first to the last audible sample of a sentence, and its pauses, in seconds from there."""
    samples, rate = soundfile.read(DIRECTORY / f"{name}.flac", dtype="float32")
    if rate != RATE_HZ:
        raise ValueError(f"{name} has {rate} Hz, not {RATE_HZ}")
    n_windows = len(samples) // WINDOW_SAMPLES
    windows = samples[: n_windows * WINDOW_SAMPLES].reshape(n_windows, WINDOW_SAMPLES).astype(np.float64)
    audible = np.flatnonzero(np.mean(windows**2, axis=1) >= 10 ** (AUDIBLE_DBFS / 10))
    first = int(audible[0])
    found = samples[first * WINDOW_SAMPLES : (int(audible[-1]) + 1) * WINDOW_SAMPLES]
    window_s = WINDOW_SAMPLES / RATE_HZ
    gaps = np.flatnonzero(np.diff(audible) > SHORTEST_PAUSE_S / window_s)
    pauses = tuple(
        (float((audible[gap] + 1 - first) * window_s), float((audible[gap + 1] - first) * window_s)) for gap in gaps
    )
    return found, pauses


def decode(package: Path) -> None:
    """Writes the sentences as FLAC. Needs PyAV, which is in the extra `media`."""
    av: Any = importlib.import_module("av")
    for name in SENTENCES:
        with av.open(
            str(package / "usr/share/asterisk/sounds/en_US_f_Allison" / f"{name}.g722"), format="g722"
        ) as file:
            frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
        target = DIRECTORY / f"{name}.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, np.concatenate(frames), RATE_HZ, subtype="PCM_16")
    print(f"{len(SENTENCES)} sentences in {DIRECTORY}")


if __name__ == "__main__":
    decode(Path(sys.argv[1]))
