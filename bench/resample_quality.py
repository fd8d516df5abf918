"""What resamplers do to sound, measured from outside with tones: delay, ripple, aliases, images, as a Markdown table.

    python bench/resample_quality.py [--plot PNG]
    python bench/resample_quality.py --design      solves for the coefficients in resample_kernel.h again (needs SciPy)

The measures, with "lower" for the lower of the two rates:

delay     the longest time from the arrival of an input sample until the output of its time leaves; fed by the sample
ripple    the largest deviation of a tone's level, up to 0.425 and up to 0.45 of the lower rate (3.4 and 3.6 kHz of 8)
images    the largest RMS of all that is added to a tone up to 0.45 of the lower rate, relative to the tone
aliases   downwards: the largest RMS of what is left of a tone from 0.55 of the output rate to the end, all of which
          would fold into 0..0.45; relative to the tone
edge      the level at 0.5 of the lower rate, in the middle of the polyphase filter's transition band. Downwards, what
          is left of a tone from there to 0.55 folds to 0.45..0.5 of the output rate
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import soxr

from voxgate._native.resample import Resampler
from voxgate.audio.soxr import SoxrResampler

TO_RATE = 16_000
FROM_RATES = (48_000, 44_100, 22_050, 8_000, 44_101)
Make = Callable[[int], Resampler | SoxrResampler]
RESAMPLERS: dict[str, Make] = {
    "voxgate polyphase": lambda rate: Resampler(rate, TO_RATE),
    "soxr HQ": lambda rate: SoxrResampler(rate, TO_RATE, quality="HQ"),
    "soxr MQ": lambda rate: SoxrResampler(rate, TO_RATE, quality="MQ"),
    "soxr LQ": lambda rate: SoxrResampler(rate, TO_RATE, quality="LQ"),
}


def db(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-12)))


def delay_s(make: Make, rate: int) -> float:
    resampler = make(rate)
    sample = np.zeros((1, 1), np.float32)
    longest = 0.0
    produced = 0
    for n in range(rate // 2):
        ready = resampler.push(sample).shape[1]
        if ready:
            longest = max(longest, n / rate - produced / TO_RATE)
            produced += ready
    return longest


def response(make: Make, rate: int, frequency_hz: float, seconds: float = 0.6) -> tuple[float, float, float]:
    """(amplitude at the tone's own frequency, RMS of everything else, RMS of all); for a tone of amplitude 1."""
    tone = np.sin(2 * np.pi * frequency_hz / rate * np.arange(int(rate * seconds))).astype(np.float32)[None, :]
    resampler = make(rate)
    got = np.concatenate([resampler.push(tone), resampler.finish()], axis=1)[0].astype(np.float64)
    edge = int(0.15 * TO_RATE)
    got = got[edge:-edge] * np.sqrt(2)
    angle = 2 * np.pi * frequency_hz / TO_RATE * np.arange(len(got))
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    weights = np.linalg.lstsq(basis, got, rcond=None)[0]
    rest = got - basis @ weights
    return (
        float(np.hypot(*weights) / np.sqrt(2)),
        float(np.sqrt(np.mean(rest**2))),
        float(np.sqrt(np.mean(got**2))),
    )


def rows() -> Iterator[list[str]]:
    for rate in FROM_RATES:
        lower = min(rate, TO_RATE)
        passband = lower * np.concatenate([np.linspace(0.005, 0.425, 40), np.linspace(0.427, 0.4499, 8)])
        for name, make in RESAMPLERS.items():
            inside = [response(make, rate, frequency_hz) for frequency_hz in passband]
            levels = np.array([abs(db(amplitude)) for amplitude, _, _ in inside])
            aliases = "-"
            if rate > TO_RATE:
                stopband = np.linspace(0.5501 * TO_RATE, 0.4999 * rate, 60)
                aliases = f"{db(max(response(make, rate, frequency_hz)[2] for frequency_hz in stopband)):.1f}"
            at_edge = response(make, rate, lower * 0.5 - 3.7)
            yield [
                f"{rate}",
                name,
                f"{delay_s(make, rate) * 1000:.2f}",
                f"{levels[passband <= 0.425 * lower].max():.3f}",
                f"{levels.max():.3f}",
                f"{db(max(rest for _, rest, _ in inside)):.1f}",
                aliases,
                f"{db(at_edge[0]):.1f}",
            ]


def table() -> None:
    head = ["from, Hz", "resampler", "delay, ms", "ripple to 0.425, dB", "to 0.45, dB", "images, dB", "aliases, dB"]
    head.append("edge, dB")
    print(f"To {TO_RATE} Hz; soxr {soxr.__version__}.\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows():
        print("| " + " | ".join(row) + " |", flush=True)


def plot(path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 1, figsize=(9, 11), layout="constrained")
    for panel, rate in zip(panels, (48_000, 8_000, 48_000), strict=True):
        lower = min(rate, TO_RATE)
        close = panel is panels[2]
        highest = 0.47 * lower if close else rate * 0.499
        frequencies = np.linspace(0.005 * lower, highest, 60 if close else 160)
        for name, make in RESAMPLERS.items():
            measured = [response(make, rate, frequency_hz, 0.45) for frequency_hz in frequencies]
            if close:
                values = [db(amplitude) for amplitude, _, _ in measured]
            elif rate > TO_RATE:
                values = [db(level) for _, _, level in measured]
            else:
                values = [db(rest) for _, rest, _ in measured]
            panel.plot(frequencies / 1000, values, label=name, linewidth=1)
        panel.set_xlabel("frequency of the tone, kHz")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
        if close:
            panel.set_ylim(-0.2, 0.1)
            panel.set_ylabel("level, dB")
            panel.set_title(f"{rate} -> {TO_RATE} Hz: the passband")
        else:
            panel.set_ylim(-150, 5)
            panel.set_ylabel("dB")
            what = "what is left of a tone" if rate > TO_RATE else "what is added to a tone (images)"
            panel.set_title(f"{rate} -> {TO_RATE} Hz: {what}")
    figure.savefig(path, dpi=110)


def design(half_periods: int = 23, n_terms: int = 33, ripple: float = 0.002) -> None:
    """The linear programme of resample_kernel.h: least stopband peak for a given passband ripple."""
    from scipy.optimize import linprog

    def spectrum(frequencies: np.ndarray) -> np.ndarray:
        bins, terms = 2 * half_periods * frequencies[:, None], np.arange(n_terms)
        return half_periods * (np.sinc(bins - terms) + np.sinc(bins + terms))

    step = 1 / (16 * half_periods)
    passband = np.linspace(0, 0.45, int(0.45 / step) + 1)
    stopband = np.concatenate([0.55 + 0.4 * np.linspace(0, 1, 200) ** 1.5, np.arange(0.95 + step, 8, step)])
    inside = spectrum(passband) / ripple
    outside = spectrum(stopband) * np.maximum(1, stopband)[:, None] * 1e5
    peak = np.ones((len(stopband), 1))
    none = np.zeros((len(passband), 1))
    solution = linprog(
        np.eye(n_terms + 1)[-1],
        A_ub=np.block([[inside, none], [-inside, none], [outside, -peak], [-outside, -peak]]),
        b_ub=np.concatenate(
            [
                np.full(len(passband), 1 / ripple + 1),
                np.full(len(passband), 1 - 1 / ripple),
                np.zeros(2 * len(stopband)),
            ]
        ),
        A_eq=np.append(half_periods * (-1.0) ** np.arange(n_terms), 0)[None, :],
        b_eq=[0.0],
        bounds=(None, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not solution.success:
        raise SystemExit(f"no solution: {solution.message}")
    coefficients = solution.x[:-1]
    for first in range(0, n_terms, 4):
        print("    " + " ".join(f"{value:+.13e}," for value in coefficients[first : first + 4]))
    frequencies = np.linspace(0, 40, 200_001)
    level = np.abs(np.concatenate([spectrum(part) @ coefficients for part in np.array_split(frequencies, 40)]))
    print(f"ripple {max(abs(db(v)) for v in level[frequencies <= 0.45]):.4f} dB", end=", ")
    print(f"stopband {db(level[frequencies >= 0.55].max()):.2f} dB", end=", ")
    print(f"from 1.5 on {db(level[frequencies >= 1.5].max()):.2f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="PNG", help="also draw the responses")
    parser.add_argument("--design", action="store_true", help="solve for the kernel's coefficients instead")
    arguments = parser.parse_args()
    if arguments.design:
        design()
        return
    table()
    if arguments.plot:
        plot(arguments.plot)


if __name__ == "__main__":
    main()
