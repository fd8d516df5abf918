"""The settings of the section ``endpoints``."""

from __future__ import annotations

import pytest

from voxgate.config import SETTINGS, EndpointsSettings, load_config
from voxgate.errors import ConfigError
from voxgate.protocol.wires import WIRES


def test_every_wire_of_others_can_be_switched_off():
    switches = {name for name in EndpointsSettings.__struct_fields__ if SETTINGS[f"endpoints.{name}"].kind is bool}
    assert switches == set(WIRES) - {"native", "grpc"}
    config = load_config(environ={"VOXGATE_ENDPOINTS_DEEPGRAM": "false"})
    assert (config.endpoints.deepgram, config.endpoints.assemblyai) == (False, True)


def test_the_shortest_silence():
    assert load_config(environ={}).endpoints.min_silence_ms is None
    assert load_config(environ={}, overrides={"endpoints.min_silence_ms": 200}).endpoints.min_silence_ms == 200
    with pytest.raises(ConfigError, match=r"endpoints\.min_silence_ms"):
        load_config(environ={}, overrides={"endpoints.min_silence_ms": 49})
