"""The settings: what there are (settings), where they come from (loader), and how they are written down (document).

Sources in rising priority: the defaults, a TOML or JSON file, ``VOXGATE_<SECTION>_<KEY>`` environment variables, and
overrides (the command line's flags). A key that is unknown or a value that is out of range raises ConfigError naming
the key, the value, what is allowed, and the source.
"""

from .document import dump_toml
from .loader import load_config
from .settings import (
    SETTINGS,
    AudioSettings,
    AuthSettings,
    Config,
    InferenceSettings,
    LimitsSettings,
    MetricsSettings,
    ModelSettings,
    ServerSettings,
    SimpleSettings,
    VadSettings,
)

__all__ = [
    "SETTINGS",
    "AudioSettings",
    "AuthSettings",
    "Config",
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
