import msgspec
import pytest

import voxgate
from voxgate.models.request import Request


def test_it_is_exported():
    assert voxgate.Request is Request


def test_every_field_has_a_default_for_tests_of_models():
    request = Request()
    assert msgspec.structs.asdict(request) == {
        "options": None,
        "channel": 0,
        "final": True,
        "start_s": 0.0,
        "end_s": 0.0,
        "session_id": "",
        "identity": None,
        "sample_rate": 16_000,
    }


def test_it_is_read_only():
    with pytest.raises(AttributeError):
        Request().channel = 1  # type: ignore[misc]
