"""The sections of the settings: one class each, frozen, with the type, default, range and meaning of every setting."""

from .audio import AudioSettings
from .auth import AuthSettings
from .endpoints import EndpointsSettings
from .grpc import GrpcSettings
from .inference import InferenceSettings
from .limits import LimitsSettings
from .media import MediaSettings
from .metrics import MetricsSettings
from .model import ModelSettings
from .ray import RaySettings
from .server import ServerSettings
from .simple import SimpleSettings
from .turn import TurnSettings
from .vad import VadSettings

__all__ = [
    "AudioSettings",
    "AuthSettings",
    "EndpointsSettings",
    "GrpcSettings",
    "InferenceSettings",
    "LimitsSettings",
    "MediaSettings",
    "MetricsSettings",
    "ModelSettings",
    "RaySettings",
    "ServerSettings",
    "SimpleSettings",
    "TurnSettings",
    "VadSettings",
]
