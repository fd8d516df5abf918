"""Generates the package from the source of Voxgate beside it. A source distribution contains the generated package."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
GENERATOR = HERE / "generate.py"
ROOT = HERE.parents[1]

if GENERATOR.is_file() and (ROOT / "src" / "voxgate").is_dir():
    runpy.run_path(str(GENERATOR))["generate"](HERE)
    shutil.copy(ROOT / "LICENSE", HERE / "LICENSE")

setup()
