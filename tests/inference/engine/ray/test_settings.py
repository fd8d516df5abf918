from __future__ import annotations

from msgspec.structs import asdict

from voxgate.config.sections import RaySettings as Section
from voxgate.inference.engine.ray import RaySettings


def test_the_section_and_the_engine_have_the_same_defaults() -> None:
    engine = RaySettings()
    assert {name: getattr(engine, name) for name in asdict(Section())} == asdict(Section())
