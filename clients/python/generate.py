"""Writes the package `voxgate_client` from the source of Voxgate: the client library, its command, and their imports.

One source, two distributions: no file is copied by hand, and no file belongs to both wheels. The modules are those that
`ROOTS` import, wherever the import stands, except below `if TYPE_CHECKING:`; `voxgate` becomes `voxgate_client` in the
imports. A file in `overrides` takes the place of one that needs compiled code.

    python generate.py DIRECTORY
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "voxgate"
OVERRIDES = HERE / "overrides"
ROOTS = ("voxgate.client", "voxgate.cli", "voxgate.cli.client")
DATA = ("*.flac", "*.json", "*.binpb", "py.typed")
"""Of the packages that are copied."""


def path_of(module: str, base: Path) -> Path | None:
    """The file of a module of voxgate below `base`; None when it has none."""
    place = base.joinpath(*module.split(".")[1:])
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def source_of(module: str) -> Path | None:
    """The file to copy for a module: an override, or that of the package; None when there is no such module."""
    own = path_of(module, SOURCE)
    if own is None:
        return None
    override = OVERRIDES / own.relative_to(SOURCE)
    return override if override.is_file() else own


def imports(path: Path, module: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, list[str]]]:
    """Each import of voxgate in a file, and the modules that it may mean."""
    is_package = path.name == "__init__.py"
    package = module.split(".") if is_package else module.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        below
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for below in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            names = [name, *(f"{name}.{alias.name}" for alias in node.names)]
        else:
            continue
        if names[0].partition(".")[0] == "voxgate":
            yield node, [] if node in typed else names


def closure() -> dict[str, Path]:
    """Every module to copy, and its file."""
    found: dict[str, Path] = {}
    waiting = list(ROOTS)
    while waiting:
        module = waiting.pop()
        path = source_of(module)
        if path is None or module in found:
            continue
        found[module] = path
        waiting += [name for _, names in imports(path, module) for name in names]
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return found


def rewritten(path: Path, module: str) -> str:
    """The text of a file whose imports name `voxgate_client`."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for node, _ in imports(path, module):
        first = node.lineno - 1
        lines[first] = re.sub(r"\b(from|import) voxgate\b", r"\1 voxgate_client", lines[first])
    return "".join(lines)


def generate(directory: Path) -> list[str]:
    """Writes the package below `directory`, replacing an earlier one; returns the modules."""
    package = directory / "voxgate_client"
    shutil.rmtree(package, ignore_errors=True)
    modules = closure()
    version = re.search(r'__version__ = "([^"]+)"', (SOURCE / "__init__.py").read_text(encoding="utf-8"))
    assert version is not None
    for module, path in modules.items():
        own = path_of(module, SOURCE)
        assert own is not None
        target = package / own.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewritten(path, module).replace("@VERSION@", version[1]), encoding="utf-8")
        if path.name == "__init__.py":
            for pattern in DATA:
                for data in own.parent.glob(pattern):
                    shutil.copy(data, target.parent / data.name)
    return sorted(modules)


if __name__ == "__main__":
    print("\n".join(generate(Path(sys.argv[1]))))
