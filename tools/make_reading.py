"""Makes the bundled human speech in ``src/voxgate/recordings``: ``reading.flac`` and its entry in ``truth.json``.

    pip download --no-deps --no-binary :all: pocketsphinx==5.1.1
    python tools/make_reading.py pocketsphinx-5.1.1.tar.gz

It also writes ``bench/reading_words.json``: when each word is spoken, for `make bench-turns`.

The clips are five sentences of Jane Austen's "Sense and Sensibility", read by a volunteer of LibriVox, whose recordings
are in the public domain. They come from the tests of PocketSphinx (``test/data/librivox``), with their words and an
alignment that says when each word is spoken. One sentence has a word too many there ("a more a amiable woman"); the
reader does not speak it.

The clips follow one another with pauses of faint noise between them; the samples of the clips are unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUTPUT = ROOT / "src" / "voxgate" / "recordings"
WORDS = ROOT / "bench" / "reading_words.json"
NAME = "reading"
RATE_HZ = 16_000
BEFORE_S, BETWEEN_S = 0.6, 1.0
ROOM_DBFS = -66.0
VOICE = "LibriVox"
STEM = "test/data/librivox/sense_and_sensibility_01_austen_64kb"


class Clip(NamedTuple):
    """One sentence: its number, the start of the SHA-256 of its WAV file, and its words as one writes them."""

    number: str
    sha256: str
    text: str


CLIPS = (
    Clip(
        "0870",
        "b0557cf95c974d93",
        "And Mister John Dashwood had then leisure to consider how much there might be prudently in his power to do"
        " for them.",
    ),
    Clip("0880", "fbec491ef00ee734", "He was not an ill-disposed young man,"),
    Clip("0890", "5793ffbdee55fb8b", "unless to be rather cold-hearted and rather selfish is to be ill-disposed."),
    Clip(
        "0920",
        "40882414ef4cc51f",
        "Had he married a more amiable woman, he might have been made still more respectable than he was:",
    ),
    Clip("0930", "954adbf0b56ac8a1", "he might even have been made amiable himself."),
)


def noise(n_samples: int, generator: np.random.Generator) -> npt.NDArray[np.int16]:
    """A faint room."""
    return np.rint(generator.standard_normal(n_samples) * 10 ** (ROOM_DBFS / 20) * 32767).astype(np.int16)


Word = tuple[str, float, float]
"""A word, and the seconds in the recording at which it begins and ends."""


def make(archive: tarfile.TarFile) -> tuple[npt.NDArray[np.int16], list[dict[str, Any]], list[list[Word]]]:
    """Samples, int16, mono, the truth, and the words of each sentence. Raises ValueError for an archive with other
    clips.
    """
    root = archive.getnames()[0].partition("/")[0]
    generator = np.random.default_rng(11)
    parts = [noise(round(BEFORE_S * RATE_HZ), generator)]
    truth: list[dict[str, Any]] = []
    words: list[list[Word]] = []
    for clip in CLIPS:
        wav, aligned = (_read(archive, f"{root}/{STEM}-{clip.number}.{kind}") for kind in ("wav", "json"))
        if not hashlib.sha256(wav).hexdigest().startswith(clip.sha256):
            raise ValueError(f"clip {clip.number} is not the one that is bundled")
        samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
        if rate != RATE_HZ or samples.ndim != 1:
            raise ValueError(f"clip {clip.number}: expected mono at {RATE_HZ} Hz, not {rate} Hz")
        begin_s = sum(map(len, parts)) / RATE_HZ
        spoken = [word for word in json.loads(aligned)["w"] if not word["t"].startswith("<")]
        truth.append(
            {
                "start_s": round(begin_s + spoken[0]["b"], 3),
                "end_s": round(begin_s + spoken[-1]["b"] + spoken[-1]["d"], 3),
                "text": clip.text,
                "voice": VOICE,
            }
        )
        words.append(_said([_timed(word, begin_s) for word in spoken], clip))
        parts += [samples, noise(round(BETWEEN_S * RATE_HZ), generator)]
    return np.concatenate(parts), truth, words


def _timed(word: dict[str, Any], begin_s: float) -> Word:
    """`begin_s`: of the clip. The number of a pronunciation, as in ``to(3)``, is dropped."""
    name = word["t"].partition("(")[0]
    return name, round(begin_s + word["b"], 3), round(begin_s + word["b"] + word["d"], 3)


def _said(words: list[Word], clip: Clip) -> list[Word]:
    """Those of `words` that the reader says: the alignment has one too many. Raises ValueError if one is missing."""
    expected = [word.strip(",.:") for word in clip.text.lower().replace("-", " ").split()]
    said: list[Word] = []
    for word in words:
        if word[0] == expected[min(len(said), len(expected) - 1)]:
            said.append(word)
    if len(said) != len(expected):
        raise ValueError(f"clip {clip.number}: the alignment lacks {expected[len(said)]!r}")
    return said


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdist", type=Path, help="the source package of pocketsphinx (.tar.gz)")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="directory for the files")
    args = parser.parse_args()
    with tarfile.open(args.sdist) as archive:
        samples, truth, words = make(archive)
    path = args.output / f"{NAME}.flac"
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16", compression_level=1.0)
    place = args.output / "truth.json"
    document = json.loads(place.read_text())
    document["files"][NAME] = {
        "origin": "LibriVox, Sense and Sensibility (public domain), from test/data/librivox of pocketsphinx 5.1.1;"
        " tools/make_reading.py",
        "tolerance_s": 0.15,
        "sample_rate": RATE_HZ,
        "duration_s": round(len(samples) / RATE_HZ, 3),
        "channels": [truth],
    }
    place.write_text(json.dumps(document, indent=1) + "\n")
    lines = ",\n".join(f" {json.dumps(sentence)}" for sentence in words)
    WORDS.write_text(f"[\n{lines}\n]\n")
    print(f"{path.name} {path.stat().st_size / 1024:.0f} KiB, {len(samples) / RATE_HZ:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
