"""What gRPC needs, and what is said when it is missing."""

from __future__ import annotations

import pytest

from voxgate.endpoints.grpc import needs
from voxgate.errors import ConfigError


def test_all_is_installed_here():
    needs.check_installed()


@pytest.mark.parametrize("module", ["voxgate_no_such", "voxgate_no_such.inner"])
def test_a_missing_package_is_named(monkeypatch, module):
    monkeypatch.setattr(needs, "PACKAGES", {"json": "json", module: "some-package"})
    with pytest.raises(ConfigError, match=r"the package 'some-package', .* pip install 'voxgate\[grpc\]'"):
        needs.check_installed()
