"""The model that is served when nobody names one."""

from __future__ import annotations

import pytest

from voxgate.models import moonshine
from voxgate.models.default import AUTO, choose
from voxgate.models.features import Features
from voxgate.models.loader import find_model
from voxgate.models.moonshine import Moonshine


def test_moonshine_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moonshine, "missing", lambda: None)
    assert choose() == ("moonshine", "no model was named and the extra 'moonshine' is installed")
    assert find_model(AUTO) is Moonshine


def test_features_elsewhere_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moonshine, "missing", lambda: "needs a wheel")
    assert choose() == ("features", "no model was named, and model 'moonshine' needs a wheel")
    assert find_model(AUTO) is Features
