"""Makes the moving picture of the README: `voxgate client` with live captions of human speech, as on a terminal.

A real server, a real client at the pace of the speaker, and a terminal (pyte) that is looked at several times a second;
what stood where and when becomes an SVG that any browser plays. Needs the extras `moonshine` and `test`.
"""

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "captions.svg"
COLUMNS, ROWS = 100, 16
FRAME_S = 0.2
REST_S = 4.0
CELL_X, CELL_Y = 8.4, 19
PROMPT = "$ voxgate client reading --real-time --interim-results"
COLOURS = {"default": "#d8dee9", "green": "#8fd18b", "red": "#e8807f", "brown": "#e0c46c", "cyan": "#7cc7d6"}

Cell = tuple[str, str]
Row = tuple[tuple[int, str, str], ...]


def screens(command: list[str]) -> list[tuple[float, tuple[Row, ...]]]:
    """What stands on the terminal while the command runs: each new state, and when it came."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(PROMPT.encode() + b"\r\n")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, env=environment)
    os.close(slave)
    found: list[tuple[float, tuple[Row, ...]]] = []
    begin_s = 0.0
    while True:
        try:
            if not select.select([master], [], [], FRAME_S)[0]:
                continue
            data = os.read(master, 65_536)
        except OSError:
            break
        if not data:
            break
        now_s = time.monotonic()
        begin_s = begin_s or now_s  # the start of Python is no part of it
        stream.feed(data)
        rows = tuple(runs(screen, y) for y in range(ROWS))
        at_s = int((now_s - begin_s) / FRAME_S) * FRAME_S
        if found and found[-1][0] == at_s:
            found.pop()
        if not found or found[-1][1] != rows:
            found.append((at_s, rows))
    if process.wait():
        raise SystemExit(f"{command} failed")
    return found


def runs(screen: pyte.Screen, y: int) -> Row:
    """The pieces of one row that have one colour each: column, text, style."""
    pieces: list[list] = []
    for x in range(COLUMNS):
        char = screen.buffer[y][x]
        dim = char.fg in ("brightblack", "808080", "8a8a8a") or re.fullmatch(r"[0-9a-f]{6}", char.fg or "") is not None
        style = ("dim " if dim else f"{char.fg} ") + ("bold" if char.bold else "")
        if pieces and pieces[-1][2] == style and pieces[-1][0] + len(pieces[-1][1]) == x:
            pieces[-1][1] += char.data
        else:
            pieces.append([x, char.data, style])
    return tuple((x, text.rstrip(), style) for x, text, style in pieces if text.strip())


def svg(found: list[tuple[float, tuple[Row, ...]]]) -> str:
    """The picture: every row that stood somewhere, for the time that it stood there; it plays for ever."""
    total_s = found[-1][0] + REST_S
    width, height = round(COLUMNS * CELL_X + 24), ROWS * CELL_Y + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" aria-label="Live captions of a human voice in a terminal">',
        '<style>text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d8dee9;white-space:pre}'
        ".dim{fill:#7f8896}.bold{font-weight:700}"
        + "".join(f".{name}{{fill:{colour}}}" for name, colour in COLOURS.items())
        + "</style>",
        f'<rect width="{width}" height="{height}" rx="9" fill="#1b1f27"/>'
        '<circle cx="20" cy="17" r="6" fill="#e8807f"/><circle cx="40" cy="17" r="6" fill="#e0c46c"/>'
        '<circle cx="60" cy="17" r="6" fill="#8fd18b"/>',
    ]
    for y in range(ROWS):
        since_s, row = found[0][0], found[0][1][y]
        for at_s, rows in [*found[1:], (total_s, ())]:
            if rows and rows[y] == row:
                continue
            if row:
                parts.append(element(y, row, since_s / total_s, at_s / total_s, total_s))
            if rows:
                since_s, row = at_s, rows[y]
    return "\n".join([*parts, "</svg>"]) + "\n"


def element(y: int, row: Row, begin: float, end: float, total_s: float) -> str:
    spans = "".join(
        f'<tspan x="{12 + x * CELL_X:.0f}" class="{style.strip()}" textLength="{len(text) * CELL_X:.1f}">'
        f"{html.escape(text)}</tspan>"
        for x, text, style in row
    )
    if begin <= 0 and end >= 1:
        return f'<text y="{48 + y * CELL_Y}">{spans}</text>'
    times = [(0.0, "hidden")] if begin > 0 else []
    times += [(begin, "visible")] + ([(end, "hidden")] if end < 1 else [])
    values = ";".join(value for _, value in times)
    keys = ";".join(f"{key:.4f}" for key, _ in times)
    return (
        f'<text y="{48 + y * CELL_Y}" visibility="hidden">{spans}<animate attributeName="visibility" values="{values}"'
        f' keyTimes="{keys}" calcMode="discrete" dur="{total_s:.1f}s" repeatCount="indefinite"/></text>'
    )


def main() -> None:
    serve = [sys.executable, "-m", "voxgate", "serve", "moonshine", "--port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = next(found[1] for line in server.stdout if (found := re.search(r"listening on (\S+)", line)))
        client = [sys.executable, "-m", "voxgate", "client", "reading", "--real-time", "--interim-results"]
        picture = svg(screens([*client, "--addr", url.replace("http", "ws") + "/api/v1/segmented"]))
        PICTURE.write_text(picture.replace(url.partition("//")[2], "localhost:8080"))  # the free port of this run
    finally:
        server.terminate()
        server.wait()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
