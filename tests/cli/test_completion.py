"""Shell completion: what bash offers after the script was loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from voxgate.cli import VERBS, main, make_parser
from voxgate.cli.completion import completion

pytest.importorskip("shtab")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


@pytest.fixture(scope="module")
def script() -> str:
    return completion(make_parser(), "bash")


def offered(script: str, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    program = (
        f"{script}\nCOMP_WORDS=(voxgate {' '.join(words)})\nCOMP_CWORD={len(words)}\n"
        '_shtab_voxgate voxgate "${COMP_WORDS[COMP_CWORD]}"\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


@needs_bash
def test_verbs(script: str) -> None:
    assert offered(script, "s") == ["serve"]
    assert set(VERBS) <= set(offered(script, "''"))


@needs_bash
def test_options_of_a_verb(script: str) -> None:
    assert offered(script, "serve", "--po") == ["--port"]
    assert offered(script, "client", "--wire", "deep") == ["deepgram"]


@needs_bash
def test_files(script: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "talk.wav").touch()
    monkeypatch.chdir(tmp_path)
    assert offered(script, "client", "--input", "ta") == ["talk.wav"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", shell]) == 0
    assert "voxgate" in capsys.readouterr().out


def test_without_shtab_the_error_names_the_extra(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--completion", "bash"]) == 2
    assert capsys.readouterr().err == "voxgate: --completion needs shtab: pip install 'voxgate[completion]'\n"
