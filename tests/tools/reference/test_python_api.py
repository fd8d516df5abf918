"""docs/python-api.md shows all that is public, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "python-api.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| \[`(voxgate[\w.]*)`\]", PAGE, re.MULTILINE)

# Public, and described elsewhere: under another name of the page, in configuration.md, or by another package.
ELSEWHERE = {
    "voxgate": {"__version__"},
    "voxgate.models": {"Model", "Batch", "Request"},
    "voxgate.client": {"AudioFormat", "ContainerFormat", "TurnOptions", "VadOptions"},
    "voxgate.config": {
        "SETTINGS", "AudioSettings", "AuthSettings", "EndpointsSettings", "InferenceSettings", "LimitsSettings",
        "MetricsSettings", "ModelSettings", "ServerSettings", "SimpleSettings", "VadSettings",
    },
    "voxgate.observe.tracing": {"CallTrace", "ClientTrace", "Parent", "SessionTrace", "parse_traceparent"},
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names that a site of this page alone has."""
    for package in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(package, reason="make docs installs it")
    source = tmp_path_factory.mktemp("source")
    (source / "index.md").write_text(PAGE, encoding="utf-8")
    made = tmp_path_factory.mktemp("made")
    command = [sys.executable, "-m", "sphinx", "--quiet", "-c", str(DOCS), str(source), str(made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inventory = (made / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines() if " py:" in line}


def test_the_modules_are_there():
    assert len(MODULES) == len(set(MODULES)) > 8
    for module in MODULES:
        importlib.import_module(module)


@pytest.mark.parametrize("module", MODULES)
def test_all_that_is_public_is_shown_and_nothing_else(shown, module):
    public = set(importlib.import_module(module).__all__)
    elsewhere = ELSEWHERE.get(module, set())
    assert elsewhere <= public
    found = {name.removeprefix(f"{module}.").partition(".")[0] for name in shown if name.startswith(f"{module}.")}
    # Where a thing is really defined is known to the site too, and leads to the same place.
    inside = {path.stem for path in (DOCS.parent / "src").joinpath(*module.split(".")).glob("*")}
    assert found - (inside - public) == public - elsewhere


@pytest.mark.parametrize("module", MODULES)
def test_every_class_and_function_says_what_it_is(module):
    found = importlib.import_module(module)
    for name in found.__all__:
        thing = getattr(found, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert (inspect.getdoc(thing) or "").strip(), name


def test_nothing_of_this_machine_is_in_a_signature(shown):
    """A default is shown as it is written: `os.environ`, and not what is in it."""
    configuration = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert re.search(r"^autodoc_preserve_defaults = True", configuration, re.MULTILINE)
