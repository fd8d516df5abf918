"""Prints what pip has to install for some of the extras in pyproject.toml ("build": what the build itself needs),
without Voxgate.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
extras = {**project["project"]["optional-dependencies"], "build": project["build-system"]["requires"]}


def requirements(extra: str) -> list[str]:
    found = []
    for requirement in extras[extra]:
        nested = re.fullmatch(r"voxgate\[([\w,-]+)\]", requirement)
        found += [r for name in nested[1].split(",") for r in requirements(name)] if nested else [requirement]
    return found


wanted = [*project["project"]["dependencies"], *(r for extra in sys.argv[1:] for r in requirements(extra))]
print("\n".join(dict.fromkeys(wanted)))
