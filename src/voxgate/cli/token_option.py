"""The --token option and its environment variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

__all__ = ["add_token_option", "token_from_environment"]


def token_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The value of VOXGATE_TOKEN; None when it is not set or only white space."""
    return environ.get("VOXGATE_TOKEN", "").strip() or None


def add_token_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--token",
        default=token_from_environment(),
        help="token; better in VOXGATE_TOKEN, because other users can read command lines",
    )
