"""All settings of the server, in sections. Frozen; the loader checks them."""

from __future__ import annotations

from msgspec import Struct

from .sections import (
    AudioSettings,
    AuthSettings,
    EndpointsSettings,
    GrpcSettings,
    InferenceSettings,
    LimitsSettings,
    MediaSettings,
    MetricsSettings,
    ModelSettings,
    RaySettings,
    ServerSettings,
    SimpleSettings,
    TurnSettings,
    VadSettings,
)

__all__ = ["Config"]


class Config(Struct, frozen=True, kw_only=True):
    """All settings. :func:`load_config` makes and checks them; the constructor checks nothing. Any thread."""

    server: ServerSettings = ServerSettings()
    limits: LimitsSettings = LimitsSettings()
    auth: AuthSettings = AuthSettings()
    endpoints: EndpointsSettings = EndpointsSettings()
    grpc: GrpcSettings = GrpcSettings()
    metrics: MetricsSettings = MetricsSettings()
    audio: AudioSettings = AudioSettings()
    media: MediaSettings = MediaSettings()
    vad: VadSettings = VadSettings()
    turn: TurnSettings = TurnSettings()
    inference: InferenceSettings = InferenceSettings()
    ray: RaySettings = RaySettings()
    simple: SimpleSettings = SimpleSettings()
    model: ModelSettings = ModelSettings()
