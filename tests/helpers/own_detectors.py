"""The source of a module with detectors, right and wrong ones."""

from __future__ import annotations

__all__ = ["OWN"]

OWN = '''
class Loud:
    """The largest sample of all frames so far: it has a memory, so that a shared one would be seen."""
    frame_samples = 100
    sample_rate = 8000
    def __init__(self):
        self.peak = 0.0
    def probability(self, frame):
        assert frame.dtype == "float32" and frame.shape == (100,)
        self.peak = max(self.peak, abs(frame).max())
        return min(1.0, self.peak)

class Holder:
    nested = Loud

def make():
    return Loud()

ready = Loud()
ready.lock = None

class Silent:
    frame_samples = 100
    sample_rate = 8000

class NoRate(Loud):
    sample_rate = None

class BadFrame(Loud):
    frame_samples = 0

class Broken(Loud):
    def __init__(self):
        raise OSError("no weights here")

import threading
stuck = Loud()
stuck.lock = threading.Lock()
number = 3
'''
