"""Draws the house in one picture: docs/diagrams/house.dot, from the table in tests/test_imports.py.

    python tools/house.py                # then: make diagrams
    python tools/house.py --count        # rooms, floors and arrows; writes nothing

That table says what each room of src/voxgate may import. Here the rooms are gathered into floors; an arrow from one
floor to another is there when a room of the one may import a room of the other, and is left out when it follows from
the others. A room that is on no floor, and floors that import each other, end this with an error.
"""

from __future__ import annotations

import argparse
import importlib.util
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIAGRAM = ROOT / "docs" / "diagrams" / "house.dot"

# Floor -> what it is for, and its rooms. "" is voxgate/__init__.py.
FLOORS = {
    "command line": ("what people type, and servers of tests", ("cli", "testing", "__main__")),
    "clients": ("the other end of the wire", ("client", "load")),
    "server": ("the process: sockets, uvicorn, workers", ("server",)),
    "endpoints": ("one shell a wire", ("endpoints",)),
    "session": ("one client's work, on any wire", ("session",)),
    "service": ("what all sessions share; admission", ("service",)),
    "observe": ("metrics and traces", ("observe",)),
    "inference": ("which model call runs next, and where", ("inference", "models", "")),
    "vad": ("where speech begins and ends", ("vad", "recordings")),
    "audio": ("bytes to samples", ("audio", "_native")),
    "protocol": ("requests, events, the session machine, settings", ("protocol", "config", "proto")),
    "runtime": ("tasks, threads, logs, errors", ("runtime", "errors")),
}
WITH_AUDIO = {"endpoints", "session", "audio", "vad", "inference"}  # where audio goes


def allowed() -> dict[str, set[str]]:
    spec = importlib.util.spec_from_file_location("test_imports", ROOT / "tests" / "test_imports.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[str, set[str]] = module.ALLOWED
    return table


def arrows(table: dict[str, set[str]]) -> dict[str, set[str]]:
    """Floor -> the floors that its rooms may import, without those that follow."""
    floor_of = {room: floor for floor, (_, rooms) in FLOORS.items() for room in rooms}
    if set(floor_of) != set(table):
        new, gone = sorted(set(table) - set(floor_of)), sorted(set(floor_of) - set(table))
        raise SystemExit(f"tools/house.py: on no floor: {new}; not in the table of tests/test_imports.py: {gone}")
    found: dict[str, set[str]] = {floor: set() for floor in FLOORS}
    for room, others in table.items():
        found[floor_of[room]] |= {floor_of[other] for other in others} - {floor_of[room]}
    below: dict[str, set[str]] = {}
    try:
        for floor in TopologicalSorter(found).static_order():
            below[floor] = found[floor].union(*(below[other] for other in found[floor]))
    except CycleError as error:
        raise SystemExit(f"tools/house.py: floors import each other: {' -> '.join(error.args[1])}") from None
    return {
        floor: others - set().union(*(below[other] for other in others)) if others else set()
        for floor, others in found.items()
    }


def diagram(table: dict[str, set[str]]) -> str:
    lines = [
        "// Written by tools/house.py from tests/test_imports.py.",
        "digraph house {",
        '  graph [bgcolor="white", rankdir="TB", ranksep=0.35, nodesep=0.4]',
        '  node [shape="box", style="rounded,filled", fontname="Helvetica", fontsize=11, margin="0.16,0.08",'
        ' color="#9ca3af", fillcolor="#f9fafb"]',
        '  edge [color="#6b7280", arrowsize=0.7]',
    ]
    for floor, (purpose, rooms) in FLOORS.items():
        colour = ', color="#2563eb", fillcolor="#eff6ff"' if floor in WITH_AUDIO else ""
        named = ", ".join(room for room in rooms if room)
        label = f'<<b>{floor}</b><br/>{purpose}<br/><font point-size="9" color="#4b5563">{named}</font>>'
        lines.append(f'  "{floor}" [label={label}{colour}]')
    for floor, others in arrows(table).items():
        lines += [f'  "{floor}" -> "{other}"' for other in sorted(others)]
    return "\n".join([*lines, "}", ""])


def height(table: dict[str, set[str]]) -> int:
    """The number of rooms on the longest way down, however the picture groups them."""
    depth: dict[str, int] = {}
    for room in TopologicalSorter(table).static_order():
        depth[room] = 1 + max((depth[other] for other in table[room]), default=0)
    return max(depth.values(), default=0)


def count(table: dict[str, set[str]]) -> str:
    n_arrows = sum(len(others) for others in table.values())
    return f"{len(table)} rooms on {height(table)} floors, {n_arrows} arrows; the picture has {len(FLOORS)} floors"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", action="store_true", help="print the numbers of rooms, floors and arrows")
    if parser.parse_args().count:
        print(count(allowed()))
        return 0
    DIAGRAM.write_text(diagram(allowed()), encoding="utf-8")
    print(DIAGRAM.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
