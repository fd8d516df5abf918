"""Makes the pictures of the README from real runs: the demo in a terminal as SVG (needs `rich`), the detector's plot as
PNG.
"""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS = 150


def terminal_output(*command: str) -> str:
    """What a command prints on a terminal, colours and all."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    output = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        output += data
    process.wait()
    return output.decode().replace("\r\n", "\n")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    # A progress bar repaints its line: what stands there in the end is what counts.
    lines = [line.rpartition("\r")[2] for line in terminal_output("voxgate", "demo").splitlines()]
    end = next(i for i, line in enumerate(lines) if line.startswith("to keep the server"))
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text("$ voxgate demo"))
    for line in lines[:end]:
        console.print(Text.from_ansi(line.replace("\x1b[K", "")))
    # rich names fonts that a browser would have to fetch; the reader's own will do.
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="voxgate demo"), flags=re.DOTALL)
    (IMAGES / "demo.svg").write_text(svg.replace("Fira Code", "monospace"))
    demo = ROOT / "src/voxgate/recordings/demo.flac"
    subprocess.run([sys.executable, "-m", "voxgate", "vad", str(demo), "--plot", str(IMAGES / "vad.png")], check=True)


if __name__ == "__main__":
    main()
