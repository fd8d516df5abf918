"""Objects named ``pkg.module:attribute`` are imported, and every failure says what was expected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voxgate.runtime.import_name import ImportNameError, explained, import_name

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the current directory, which is not yet on the import path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)

    return write


def test_attributes_reach_into_classes(write: Write) -> None:
    write("named_a", "class Outer:\n    class Inner:\n        number = 7\n")
    assert import_name("named_a:Outer.Inner.number") == 7
    assert import_name("collections.abc:Sequence").__name__ == "Sequence"


def test_the_current_directory_becomes_the_first_of_the_path_once(write: Write, tmp_path: Path) -> None:
    write("named_b", "number = 1")
    with pytest.raises(ImportNameError, match="no module named 'named_b'"):
        import_name("named_b:number", search_here=False)
    assert str(tmp_path) not in sys.path
    for _ in range(2):
        assert import_name("named_b:number") == 1
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json", "expected 'pkg.module:attribute', names joined by dots on both sides of one colon"),
        ("json:", "expected 'pkg.module:attribute'"),
        (":loads", "expected 'pkg.module:attribute'"),
        ("json:loads:x", "expected 'pkg.module:attribute'"),
        ("./asr/mine.py:Mine", "; for a file write its module, 'asr.mine'"),
        ("json:load_", "'json' has no attribute 'load_'; did you mean 'load'?"),
        ("no_such_module_here:x", "no module named 'no_such_module_here', neither in the current directory"),
        ("json.nothing:x", "no module named 'json.nothing'"),
    ],
)
def test_a_name_that_leads_nowhere(write: Write, name: str, text: str) -> None:
    with pytest.raises(ImportNameError) as caught:
        import_name(name)
    assert text in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "import missing_dependency",
            "needs the module 'missing_dependency', which is not installed (named_c",
        ),
        ("def f():\n    raise OSError('no weights')\nf()", "OSError: no weights (named_c.py, line 2, in f)"),
        ("raise SystemExit(3)", "SystemExit: 3 (named_c.py, line 1)"),
        ("def f(:", "SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_the_cause(write: Write, source: str, text: str) -> None:
    write("named_c", source)
    with pytest.raises(ImportNameError, match="importing 'named_c' failed: ") as caught:
        import_name("named_c:f")
    assert text in str(caught.value)
    assert caught.value.__cause__ is not None


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert explained(ValueError("too loud")) == "ValueError: too loud"


def test_a_module_that_the_code_imports_is_no_suggestion(write: Write) -> None:
    write("named_m", "import numpy as np\n\ndef nope_(): ...\n")
    with pytest.raises(ImportNameError, match="has no attribute 'npe'; did you mean 'nope_'"):
        import_name("named_m:npe")
    write("named_n", "import numpy as np\n")
    with pytest.raises(ImportNameError, match=r"has no attribute 'nope'$"):
        import_name("named_n:nope")
