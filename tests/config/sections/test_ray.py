from __future__ import annotations

import pytest

from voxgate.config import load_config
from voxgate.errors import ConfigError


def test_every_bound_has_a_range() -> None:
    for name, bad in (("calls", 0), ("servers", 0), ("start_timeout_s", 0), ("lost_after_s", 0)):
        with pytest.raises(ConfigError, match=rf"ray\.{name}"):
            load_config(environ={}, overrides={f"ray.{name}": bad})
    config = load_config(environ={"VOXGATE_RAY_APP": "asr", "VOXGATE_INFERENCE_ENGINE": "ray"})
    assert (config.ray.app, config.inference.engine) == ("asr", "ray")
