"""Serves a model within a test: a real server on a free port of this machine, and a client for it::

    from voxgate.testing import serving

    def test_the_loudness_of_a_tone():
        with serving(Loudness) as server:
            (result,) = server.collect((tone, 16_000), route="simple")
        assert result.output["rms_dbfs"] == -9.0

pytest users add ``pytest_plugins = ["voxgate.testing.pytest_plugin"]`` to their ``conftest.py`` and get the fixture
``model_server``. The plugin is not loaded by itself: an entry point would import it into every test run of every
environment that contains Voxgate.
"""

from __future__ import annotations

from voxgate.testing.server import LocalServer, serving

__all__ = ["LocalServer", "serving"]
