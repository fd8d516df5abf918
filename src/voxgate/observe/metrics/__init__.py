"""What the server does, in numbers: counted in plain attributes, converted to Prometheus' formats at a scrape.

Nothing is measured for a scrape alone: counters are read where they are kept (`tasks`, the scheduler, the engine, the
:class:`Tally` of the sessions), and histograms are observed once per batch, per event sent or per second of audio,
never per message of a client.
"""

from __future__ import annotations

from voxgate.observe.metrics.exposition import Exposition
from voxgate.observe.metrics.metrics import Metrics
from voxgate.observe.metrics.tally import Tally, outcome_of

__all__ = ["Exposition", "Metrics", "Tally", "outcome_of"]
