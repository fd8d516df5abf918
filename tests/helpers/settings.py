"""Settings from text, as a file in the working directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxgate.config import Config, load_config


def load(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    suffix: str = ".toml",
) -> Config:
    """The settings of this file, these variables and these flags."""
    path = None
    if text is not None:
        path = Path(f"some{suffix}")
        path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {}, overrides)
