from __future__ import annotations

import dataclasses

from voxgate.audio.containers import MediaLimits
from voxgate.config import load_config


def test_they_are_the_settings():
    settings = load_config(environ={}).media
    assert {name: getattr(settings, name) for name in settings.__struct_fields__} == dataclasses.asdict(MediaLimits())
