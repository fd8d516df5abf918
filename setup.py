"""Finds ext/**/*.pyx and builds one extension each. Everything else stands in pyproject.toml.

VOXGATE_BUILD chooses how the native code is built:

release   optimised (default)
debug     no optimisation, bounds checks on
trace     line tracing for coverage of the native code
asan      AddressSanitizer and UndefinedBehaviorSanitizer
tsan      ThreadSanitizer
fuzz      AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer's coverage; needs clang (CC=clang)
"""

import os
import re
import sys
import tomllib
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
MODES = {
    "release": ["-O3"],
    "debug": ["-O0", "-g"],
    "trace": ["-O1", "-g"],
    # -fno-wrapv: CPython's own flags have -fwrapv, with which UBSan looks at no signed overflow.
    "asan": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-wrapv", "-fno-omit-frame-pointer"],
    "tsan": ["-O1", "-g", "-fsanitize=thread"],
    # Without pointer-overflow: Cython 3.3 adds 0 to a null pointer in the constructor of every class without arguments.
    "fuzz": [
        *("-O1", "-g", "-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=pointer-overflow"),
        *("-fno-wrapv", "-fno-omit-frame-pointer"),
    ],
}
mode = os.environ.get("VOXGATE_BUILD", "release")
if mode not in MODES:
    sys.exit(f"VOXGATE_BUILD must be one of {', '.join(MODES)}, got {mode!r}")
checked, traced = mode == "debug", mode == "trace"
sanitize = [flag for flag in MODES[mode] if flag.startswith("-fsanitize")]


def extension(pyx: Path) -> Extension:
    return Extension(
        ".".join(pyx.relative_to(ROOT / "ext").with_suffix("").parts),
        [str(pyx.relative_to(ROOT))],
        include_dirs=["ext/voxgate/_native", numpy.get_include()],
        # Strict C11 with GNU attributes; errno and FP traps are never looked at, so that loops vectorise. No
        # -ffast-math.
        extra_compile_args=["-std=gnu11", "-fno-math-errno", "-fno-trapping-math", *MODES[mode]],
        extra_link_args=sanitize,
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            *([("CYTHON_TRACE_NOGIL", "1")] if traced else []),
        ],
        depends=[str(header.relative_to(ROOT)) for header in pyx.parent.glob("*.h")],
    )


def readme() -> str:
    """README.md with absolute links, as PyPI needs them: pictures from the tag of this version, pages beside them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    place = project["urls"]["Repository"].removeprefix("https://github.com/")
    tag = f"v{project['version']}"

    def absolute(found: re.Match[str]) -> str:
        is_picture, text, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        base = (
            f"https://raw.githubusercontent.com/{place}/{tag}"
            if is_picture
            else f"https://github.com/{place}/blob/{tag}"
        )
        return f"{is_picture}[{text}]({base}/{target})"

    return re.sub(r"(!?)\[([^]]*)\]\(([^)\s]+)\)", absolute, (ROOT / "README.md").read_text(encoding="utf-8"))


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=cythonize(
        [extension(pyx) for pyx in sorted((ROOT / "ext").rglob("*.pyx"))],
        include_path=["ext"],
        # Coverage of native lines needs the generated C beside its source; every other build keeps it out of the tree.
        build_dir=None if traced else f"build/cython-{mode}",
        compiler_directives={
            "language_level": 3,
            "boundscheck": checked,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": checked,
            "embedsignature": True,
            "linetrace": traced,
        },
    ),
)
