"""The settings of the section ``grpc``."""

from __future__ import annotations

import pytest

from voxgate.config import load_config
from voxgate.errors import ConfigError


def test_grpc_is_off_and_a_port_switches_it_on():
    off = load_config(environ={}).grpc
    assert (off.port, off.reflection) == (None, False)
    on = load_config(environ={"VOXGATE_GRPC_PORT": "50051", "VOXGATE_GRPC_REFLECTION": "true"}).grpc
    assert (on.port, on.reflection) == (50051, True)
    assert load_config(environ={"VOXGATE_GRPC_PORT": ""}).grpc.port is None


def test_a_port_has_sixteen_bits():
    with pytest.raises(ConfigError, match=r"grpc\.port"):
        load_config(environ={}, overrides={"grpc.port": 65_536})
