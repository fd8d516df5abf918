"""The pages of the documents: those that git knows, or, where there is no git, those that are there."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pages() -> list[str]:
    """README, CHANGELOG, and whatever else is Markdown, as paths from the root."""
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "*.md"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        below = [path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md")]
        found = [path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *below]]
    return sorted(page for page in found if (ROOT / page).exists())
