"""The client of Voxgate servers: streams audio, and yields the events of the server while people still speak.

The whole library of ``voxgate.client``, without compiled code. Sound files and arrays need NumPy and soundfile (the
extra ``files``); raw PCM and files that are sent as they are need nothing more.
"""

from __future__ import annotations

__version__ = "@VERSION@"

from voxgate.client import *  # noqa: F403 -- the version comes first: modules of the library read it
from voxgate.client import __all__ as _names

__all__ = [*_names, "__version__"]
