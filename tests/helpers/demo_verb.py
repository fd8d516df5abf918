"""`voxgate demo`, called in this process."""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Sequence

from voxgate.cli import demo
from voxgate.cli.interrupts import Interrupts

__all__ = ["Utf8", "parse", "show"]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="voxgate")
    demo.register(parser.add_subparsers())
    return parser.parse_args(["demo", *arguments])


class Utf8(io.StringIO):
    encoding = "utf-8"


def show(command: Sequence[str], *arguments: str) -> tuple[int, str]:
    """The exit code and the output."""
    out = Utf8()
    code = asyncio.run(demo.run_demo(parse("--fast", *arguments), command, out, Interrupts()))
    return code, out.getvalue()
