"""`voxgate client`, called in this process."""

from __future__ import annotations

import argparse
import json

from helpers.scripted_server import active, final, inactive, interim
from voxgate.cli import client as verb

__all__ = ["GOOD", "WIRE", "parse", "run"]

#: The events of a session, and their text on the wire.
GOOD = (active(0.1), interim(0.1, 0.5, text="he"), inactive(0.6), final(0.1, 0.6, text="hello", score=0.5))
WIRE = [json.dumps(event, separators=(",", ":")) for event in GOOD]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="voxgate")
    verb.register(parser.add_subparsers())
    return parser.parse_args(["client", *arguments])


def run(*arguments: str) -> int:
    args = parse(*arguments)
    code: int = args.run(args)
    return code
