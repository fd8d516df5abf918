"""What `make release` checks before and after it builds, and the README as PyPI shows it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tools import release

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_version_is_the_same_everywhere() -> None:
    assert [one for one in release.problems(VERSION) if "CHANGELOG" not in one] == []


def test_another_version_is_not() -> None:
    assert list(release.problems("9.9.9")) == [
        f"src/voxgate/__init__.py says {VERSION}, pyproject.toml 9.9.9",
        "CHANGELOG.md has no section 9.9.9",
        "CITATION.cff does not say version: 9.9.9",
        "clients/js/package.json does not say version 9.9.9",
    ]


def test_a_python_of_each_minor_version_is_found() -> None:
    found = release.pythons()
    assert Path(sys.executable).resolve() in [Path(one).resolve() for one in found]
    program = "import sys; print(*sys.version_info[:2])"
    versions = [subprocess.run([one, "-c", program], capture_output=True, text=True).stdout for one in found]
    assert len(set(versions)) == len(versions)


def wheel(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "")
    return path


def test_no_file_belongs_to_two_distributions(tmp_path: Path) -> None:
    whole = [wheel(tmp_path / f"voxgate-1-{tag}.whl", "voxgate/a.py") for tag in ("cp311", "cp312")]
    release.owners([*whole, wheel(tmp_path / "voxgate_client-1.whl", "voxgate_client/a.py")])
    with pytest.raises(SystemExit, match=r"voxgate/a\.py is in both"):
        release.owners([*whole, wheel(tmp_path / "voxgate_client-1.whl", "voxgate/a.py")])


def test_every_link_of_the_readme_is_absolute_on_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setuptools.setup", lambda **settings: given.update(settings))
    monkeypatch.setattr("Cython.Build.cythonize", lambda *_, **__: [])
    given: dict[str, str] = {}
    source = (ROOT / "setup.py").read_text().replace("Path(__file__).parent", f"Path({str(ROOT)!r})")
    exec(compile(source, "setup.py", "exec"), {"__name__": "setup"})
    targets = re.findall(r"\]\(([^)\s]+)\)", given["long_description"])
    assert len(targets) > 30
    assert all(target.startswith("https://") for target in targets)
    assert f"/v{VERSION}/docs/images/captions.svg" in given["long_description"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_the_files_of_the_forge_are_yaml(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    if path.parent.name == "workflows":
        for job in document["jobs"].values():
            assert {"runs-on", "steps", "timeout-minutes"} <= job.keys()
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
            assert all("@" in step["uses"] for step in job["steps"] if "uses" in step)
        assert document["permissions"] == {"contents": "read"}


def test_a_citation_can_be_read() -> None:
    document = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= document.keys()
