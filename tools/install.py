"""Runs `pip install ARGS` and shows what it does: on a terminal one line that changes, elsewhere a line at most every
five seconds. When pip fails, its whole output follows, and the exit code is pip's.

    python tools/install.py LABEL pip-arguments...
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

QUIET_S = 5.0
COLUMNS = 78
_STEPS = (
    (re.compile(r"^Collecting ([\w.-]+)"), "looking for {}"),
    (re.compile(r"^ *Downloading ([\w.-]+?)-\d\S* \(([^)]+)\)"), "downloading {} ({})"),
    (re.compile(r"^ *Building wheel for ([\w.-]+)"), "building {}"),
    (re.compile(r"^ *Building editable for ([\w.-]+)"), "building {}"),
    (re.compile(r"^Installing collected packages: (.+)"), "installing {}"),
)


def step(line: str) -> str | None:
    """What a line of pip's output says that it does; None: nothing new."""
    for pattern, text in _STEPS:
        if found := pattern.match(line):
            names = found.groups()
            if text.startswith("installing"):
                names = (f"{names[0].count(',') + 1} packages",)
            return text.format(*names)
    return None


def show(label: str, lines: Iterable[str], out: TextIO, clock: Callable[[], float] = time.monotonic) -> list[str]:
    """Shows the steps in `lines` on `out`; returns all lines."""
    is_terminal, seen = out.isatty(), []
    begin_s = last_s = clock()
    for line in lines:
        seen.append(line)
        text = step(line)
        if text is None:
            continue
        now_s = clock()
        text = f"{label}: {text}"[: COLUMNS - 8]
        if is_terminal:
            out.write(f"\r{text} {now_s - begin_s:.0f} s\x1b[K")
        elif now_s - last_s >= QUIET_S:
            out.write(f"{text}, after {now_s - begin_s:.0f} s\n")
            last_s = now_s
        out.flush()
    if is_terminal:
        out.write("\r\x1b[K")
    return seen


def main() -> int:
    label, *arguments = sys.argv[1:]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--progress-bar",
        "off",
        "--disable-pip-version-check",
        *arguments,
    ]
    begin_s = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        output = show(label, pip.stdout, sys.stdout)
    if pip.returncode:
        sys.stderr.write("".join(output))
    else:
        print(f"{label}: done after {time.monotonic() - begin_s:.0f} s", flush=True)
    return pip.returncode


if __name__ == "__main__":
    raise SystemExit(main())
