"""Runs the tests of the server on the oldest versions of uvicorn and websockets that pyproject.toml allows.

They are installed into build/compat, in front of everything else in the development environment, whose newest versions
the ordinary run tests. Arguments are for pytest.
"""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHERE = ROOT / "build/compat"
LIBRARIES = ("uvicorn", "websockets")


def oldest() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text()
    found = [re.search(rf'"{name}>=([0-9.]+)', text) for name in LIBRARIES]
    return [f"{name}=={match[1]}.*" for name, match in zip(LIBRARIES, found, strict=True) if match]


def main() -> int:
    venv.create(WHERE, with_pip=True, clear=True)
    python = WHERE / "bin/python"
    requirements = oldest()
    assert len(requirements) == len(LIBRARIES), requirements
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *requirements], check=True)
    pth = next(WHERE.glob("lib/python*/site-packages")) / "everything_else.pth"
    pth.write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    print(f"== {', '.join(requirements)}", flush=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(sys.argv[1:] or ["tests/serving"])]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
