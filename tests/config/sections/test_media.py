from __future__ import annotations

import pytest

from voxgate.config import load_config
from voxgate.errors import ConfigError


def test_every_bound_has_a_range():
    for name, bad in (
        *(("processes", -1), ("streams", 0), ("decoded_s", 0), ("header_bytes", 10), ("spool_bytes", -1)),
        *(("tracks", 0), ("timeout_s", 0)),
    ):
        with pytest.raises(ConfigError, match=rf"media\.{name}"):
            load_config(environ={}, overrides={f"media.{name}": bad})
    assert load_config(environ={}, overrides={"media.processes": 0}).media.processes == 0
