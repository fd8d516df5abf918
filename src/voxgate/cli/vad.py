"""``voxgate vad FILE``: the speech in a recording."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.cli import VERBS, plot
from voxgate.cli.client import INPUT_HELP, explain, recording
from voxgate.cli.progress import Waiting
from voxgate.config.catalogue import SETTINGS, Setting, plain
from voxgate.errors import ConfigError
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import VadOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from voxgate.client import SourceError
    from voxgate.client.source import AudioSource
    from voxgate.vad.config import VadConfig
    from voxgate.vad.detectors import DetectorFactory

    Planes = npt.NDArray[np.int16 | np.float32]

__all__ = ["register", "run"]

# The same settings that a client can tune.
_TUNABLES = VadOptions.__struct_fields__


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    parser = verbs.add_parser(
        "vad",
        help=VERBS["vad"],
        description="Print the segments of speech in a recording, as the server cuts them.",
        epilog="exit code: 0 done; 1 a truncated recording, or an unwritable plot; 2 wrong usage, or an unreadable"
        " recording",
    )
    parser.add_argument("file", metavar="FILE", help=INPUT_HELP)
    parser.add_argument(
        "--detector", default="silero", metavar="NAME", help="silero, energy, or pkg.module:attr (%(default)s)"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights of the silero detector (the installed ones)")
    parser.add_argument(
        "--format", choices=("pretty", "jsonl"), default="pretty", help="format of the output (%(default)s)"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw waveform, probability and segments; png, svg or pdf (needs matplotlib)"
    )
    settings = parser.add_argument_group("settings", "as in a client's start; see docs/protocol.md, section 4")
    for name in _TUNABLES:
        settings.add_argument(
            "--" + name.replace("_", "-"),
            type=float,
            metavar=name.rpartition("_")[2].upper(),
            help=_about(SETTINGS[f"vad.{name}"]),
        )
    parser.set_defaults(run=run)


def _about(setting: Setting) -> str:
    text = setting.description.replace("`", "")
    return f"{text[0].lower()}{text[1:].rstrip('.')}; {setting.allowed} ({plain(setting.default)})"


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done, with or without speech. 1: the recording is truncated, or the plot cannot be written. 2: wrong
    usage, or a recording that cannot be read.
    """
    # Slow to import, and no other verb needs them.
    from voxgate.client import SourceError
    from voxgate.client.source import open_source
    from voxgate.vad.config import VadConfig
    from voxgate.vad.detectors import load_detector
    from voxgate.vad.offline import segments_of_channels

    try:
        config = VadConfig().changed(**{name: getattr(args, name) for name in _TUNABLES})
    except ValueError as exc:
        raise ConfigError(str(exc)) from None
    if args.plot:
        plot.check_target(args.plot)  # reports problems before the work
    detector = load_detector(args.detector, args.weights)
    path = recording(args.file)
    failure: SourceError | None = None
    try:
        source = open_source(path, None, 1)
        if not isinstance(source.format, AudioFormat):
            raise SourceError(f"{args.file}: soundfile does not read this container, which a server may decode")
        planes, failure = _samples(source, source.format)
        sample_rate = source.format.sample_rate
        with Waiting(sys.stderr, f"{args.file}"):
            segments = segments_of_channels(planes, sample_rate, config, detector)
    except (OSError, ValueError, SourceError) as exc:  # ValueError: an unsupported rate
        print(f"voxgate vad: {explain(exc)}", file=sys.stderr)
        return 2
    duration_s = planes.shape[1] / sample_rate
    if args.format == "jsonl":
        _print_jsonl(segments)
    else:
        print(
            f"{args.file}: {_clock(duration_s)}, {sample_rate} Hz, "
            f"{_count(len(segments), 'channel')}, detector {detector.name}"
        )
        _print_pretty(segments, duration_s)
    if args.plot:
        try:
            _plot(args.plot, args.file, planes, sample_rate, segments, config, detector)
        except (OSError, ValueError) as exc:  # ValueError: a file type matplotlib does not know
            print(f"voxgate: cannot write {args.plot}: {exc}", file=sys.stderr)
            return 1
    if failure is not None:
        print(f"voxgate vad: {explain(failure)}", file=sys.stderr)
        return 1
    return 0


def _samples(source: AudioSource, format: AudioFormat) -> tuple[Planes, SourceError | None]:
    """The samples that `voxgate client` would send, shape (channels, samples), and why they ended early."""
    import numpy as np

    from voxgate.client import SourceError

    blocks: list[bytes | memoryview] = []
    failure: SourceError | None = None
    assert isinstance(source.blocks, Iterator)
    try:
        blocks.extend(source.blocks)
    except SourceError as error:
        failure = error
    samples = np.frombuffer(b"".join(blocks), "<f4" if format.is_float else "<i2")
    return samples.reshape(-1, format.channels).T, failure


def _print_jsonl(segments: Sequence[Sequence[tuple[float, float]]]) -> None:
    """All segments sorted by time, with the field names of the wire's segment event."""
    rows = sorted((start, end, channel) for channel, found in enumerate(segments) for start, end in found)
    for start, end, channel in rows:
        print(json.dumps({"start_time": round(start, 3), "end_time": round(end, 3), "channel": channel}))


def _print_pretty(segments: Sequence[Sequence[tuple[float, float]]], duration_s: float) -> None:
    for channel, found in enumerate(segments):
        speech_s = sum(end - start for start, end in found)
        share = f" ({speech_s / duration_s:.0%})" if duration_s else ""
        print(f"channel {channel}: {_count(len(found), 'segment')}, {speech_s:.3f} s{share}")
        for start, end in found:
            print(f"  {_clock(start)} - {_clock(end)}  {end - start:9.3f} s")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def _plot(
    place: str,
    title: str,
    planes: Planes,
    sample_rate: int,
    segments: Sequence[Sequence[tuple[float, float]]],
    config: VadConfig,
    detector: DetectorFactory,
) -> None:
    import numpy as np

    from voxgate.cli.meter import Envelope
    from voxgate.vad.offline import speech_probabilities

    envelopes = [Envelope(plot.POINTS) for _ in planes]
    for envelope, samples in zip(envelopes, planes, strict=True):
        envelope.push(samples if samples.dtype == np.float32 else (samples / np.float32(32_768)).astype(np.float32))
    picture = plot.Picture(f"{Path(title).name}, {detector.name}", envelopes, sample_rate)
    twins = []
    for channel, (axes, samples) in enumerate(zip(picture.rows, planes, strict=True)):
        picture.bands(channel, segments[channel], "segments")
        probabilities = speech_probabilities(samples, sample_rate, detector)
        frame_s = detector.frame_samples / detector.sample_rate
        twin = axes.twinx()
        twin.plot(
            (np.arange(len(probabilities)) + 0.5) * frame_s,
            probabilities,
            color="tab:blue",
            linewidth=0.8,
            label="probability",
        )
        twin.axhline(config.threshold, color="tab:blue", linewidth=0.5, linestyle="--")
        twin.axhline(config.negative_threshold, color="tab:blue", linewidth=0.5, linestyle=":")
        twin.set_ylim(0, 1)
        twin.set_ylabel("probability of speech")
        twins.append(twin)
    picture.save(place, twins[0])
