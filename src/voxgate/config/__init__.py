"""The settings of the server.

``sections`` declares them, ``catalogue`` lists them, ``loader`` reads and checks them, ``document`` writes them as
TOML. Sources in rising priority: the defaults, a TOML or JSON file, ``VOXGATE_<SECTION>_<KEY>`` environment
variables, and overrides (the flags of the command line). An unknown key or a value that is not allowed raises
ConfigError naming the key, the value, the allowed values, and the source.
"""

from .catalogue import SETTINGS
from .document import dump_toml
from .loader import load_config
from .sections import (
    AudioSettings,
    AuthSettings,
    EndpointsSettings,
    InferenceSettings,
    LimitsSettings,
    MetricsSettings,
    ModelSettings,
    ServerSettings,
    SimpleSettings,
    VadSettings,
)
from .settings import Config

__all__ = [
    "SETTINGS",
    "AudioSettings",
    "AuthSettings",
    "Config",
    "EndpointsSettings",
    "InferenceSettings",
    "LimitsSettings",
    "MetricsSettings",
    "ModelSettings",
    "ServerSettings",
    "SimpleSettings",
    "VadSettings",
    "dump_toml",
    "load_config",
]
