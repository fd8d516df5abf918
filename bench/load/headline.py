"""The picture at the top of docs/performance.md: live streams on a core, from the tables of that page.

    python bench/load/headline.py [--docs docs/performance.md] [--images docs/images]

`report.py` draws it too, after the tables have changed. The bars are Voxgate and the plain server in the first table of
the load suite; the limit stands in the page, as "a core has time for about N live streams".
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "streams-per-core.svg"
LIMIT = re.compile(r"a core has time for about (\d+) live streams")
COUNT = r"(?:about )?(\d+)(?: or more)?"
ROW = re.compile(rf"^\| (segmented, [^|]+?) \| {COUNT} \| {COUNT} \|", re.MULTILINE)
CASES = {
    "segmented, 20 ms, 16 kHz, mono": "messages of 20 ms",
    "segmented, 20 ms, 48 kHz, mono": "20 ms, 48 kHz",
    "segmented, 100 ms, 16 kHz, mono": "messages of 100 ms",
}
LIMITED = "segmented, 20 ms, 16 kHz, mono"
WIDTH, LEFT, BAR, GAP, TOP = 480, 12, 22, 6, 8
STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#16211f}.title{font-weight:600}
.muted{fill:#5a6967}.ground{fill:#fff}.voxgate{fill:#0f766e}.plain{fill:#9aa8a6}
.limit{fill:none;stroke:#b45309;stroke-width:1.5;stroke-dasharray:5 4}
@media (prefers-color-scheme:dark){text{fill:#e6eeec}.muted{fill:#9aaba8}.ground{fill:#16201e}.voxgate{fill:#2dd4bf}
.plain{fill:#5a6b68}.limit{stroke:#f0a44b}}
"""


def numbers(text: str) -> dict[str, tuple[int, int]]:
    """Live streams of Voxgate and of the plain server for each case of the page."""
    found = {case: (int(ours), int(theirs)) for case, ours, theirs in ROW.findall(text)}
    return {case: found[case] for case in CASES if case in found}


def bar(x: float, y: float, width: float, kind: str, label: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:.1f}" height="{BAR}" rx="3"/>'
        f'<text x="{x + width + 6:.1f}" y="{y + BAR - 6:g}">{label}</text>'
    )


def picture(text: str) -> str:
    """The SVG for the text of the page. Raises ValueError when the page has no table or no limit."""
    cases, limit = numbers(text), LIMIT.search(text)
    if not cases or limit is None:
        raise ValueError("the page has no table of the load suite, or does not say the limit")
    most = max(int(limit[1]), *(max(pair) for pair in cases.values()))
    scale = (WIDTH - LEFT - 130) / most
    y, body = float(TOP), []
    for case, (ours, theirs) in cases.items():
        body.append(f'<text class="title" x="{LEFT}" y="{y + 15:g}">{CASES[case]}</text>')
        y += 24
        for kind, count, name in (("voxgate", ours, "Voxgate"), ("plain", theirs, "plain server")):
            body.append(bar(LEFT, y, count * scale, kind, f"{count} {name}"))
            y += BAR + GAP
        if case == LIMITED:
            width = int(limit[1]) * scale
            body.append(f'<rect class="limit" x="{LEFT}" y="{y:g}" width="{width:.1f}" height="{BAR}" rx="3"/>')
            place = f'x="{LEFT + width + 6:.1f}" y="{y + BAR - 6:g}"'
            body.append(f'<text class="muted" {place}>limit, about {limit[1]}</text>')
            y += BAR + GAP
        y += 8
    height = y + 4
    label = "; ".join(f"{CASES[case]}: Voxgate {ours}, plain server {theirs}" for case, (ours, theirs) in cases.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" aria-label="Live streams on one core. {label}; limit about {limit[1]}">\n<style>{STYLE}</style>\n'
        f'<rect class="ground" width="{WIDTH}" height="{height:g}" rx="8"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def draw(docs: Path, images: Path) -> Path:
    path = images / NAME
    path.write_text(picture(docs.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", default=ROOT / "docs" / "performance.md", type=Path, metavar="FILE")
    parser.add_argument("--images", default=ROOT / "docs" / "images", type=Path, metavar="DIRECTORY")
    args = parser.parse_args()
    print(f"written: {draw(args.docs, args.images)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
