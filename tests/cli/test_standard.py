"""Every command with standard streams that are closed, full, or that take only ASCII; in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.scripted_server import active, answering, final, inactive, serving_in_thread

COMMAND = f"{sys.executable} -m voxgate"
TEXT = "Grüße, 日本 🎙"
HEARD = (active(0.1), inactive(0.6), final(0.1, 0.6, text=TEXT))
VERBS = ("--version", "--help", "serve --print-config", "vad demo", "models --help")


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def client(wav: str, arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    with serving_in_thread(answering(*HEARD)) as addr:
        return shell(f"{COMMAND} client --addr {addr} -i {wav} {arguments}", **variables)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_stream_is_as_good_as_an_empty_one(verb: str, closed: str) -> None:
    done = shell(f"{COMMAND} {verb} {closed}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_client_with_a_closed_stream_writes_its_file(wav: str, tmp_path: Path, closed: str) -> None:
    place = tmp_path / "talk.srt"
    done = client(wav, f"--format srt -o {place} {closed}")
    assert done.returncode == 0
    assert TEXT in place.read_text()


def test_a_closed_stdin_is_no_audio(wav: str) -> None:
    done = shell(f"{COMMAND} client -i - --rate 16000 <&-")
    assert done.returncode == 2
    assert done.stderr == "voxgate client: -i - reads audio from stdin, which is closed\n"


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_told_in_one_line(verb: str) -> None:
    done = shell(f"{COMMAND} {verb} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "voxgate: cannot write to standard output: No space left on device\n"


def test_a_full_disk_does_not_end_as_a_clean_demo() -> None:
    done = shell(f"{COMMAND} demo --fast >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "voxgate: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("format", ["pretty", "jsonl", "srt", "vtt"])
@pytest.mark.parametrize(("where", "name"), [("-o /dev/full", "/dev/full"), (">/dev/full", "standard output")])
def test_a_client_on_a_full_disk_says_one_line(wav: str, format: str, where: str, name: str) -> None:
    done = client(wav, f"--format {format} {where}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("No space left on device") == 1
    if (format, name) != ("pretty", "standard output"):  # whose first line is the header: there is no stream yet
        assert done.stderr.splitlines()[-1] == f"voxgate client: No space left on device: {name}"


@pytest.mark.parametrize("format", ["pretty", "jsonl", "srt", "vtt"])
def test_an_output_of_ascii_loses_no_result(wav: str, format: str) -> None:
    done = client(wav, f"--format {format}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert json.dumps(TEXT)[1:-1] in done.stdout
    if format == "jsonl":
        assert json.loads(done.stdout.splitlines()[-1])["text"] == TEXT


def test_the_old_file_stays_when_nothing_came(wav: str, tmp_path: Path) -> None:
    place = tmp_path / "old.vtt"
    place.write_text("old")

    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(503, "full")

    with serving_in_thread(answering(), process_request=refuse) as addr:
        for arguments in ("-i no-such.wav", f"-i {wav}", f"-i {wav} --vad loudness=3"):
            done = shell(f"{COMMAND} client --addr {addr} {arguments} --format vtt -o {place}")
            assert done.returncode in (1, 2)
            assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "voxgate" in path.name] == []


def test_a_recording_is_not_written_over(wav: str) -> None:
    before = Path(wav).read_bytes()
    for line in (f"-i {wav} -o {wav}", f"-i - --rate 16000 -o {wav} <{wav}"):
        done = shell(f"{COMMAND} client {line}")
        assert done.returncode == 2
        assert "choose another output" in done.stderr
    done = shell(f"{COMMAND} load -i {wav} --json {wav}")
    assert done.returncode == 2
    assert Path(wav).read_bytes() == before


def test_a_token_that_no_header_can_carry(wav: str) -> None:
    for verb in ("client", "load"):
        done = shell(f"{COMMAND} {verb} -i {wav} --addr 127.0.0.1:9", VOXGATE_TOKEN="s3cr\net")
        assert done.returncode == 2
        assert "expected one token, without blanks" in done.stderr
        assert "s3cr" not in done.stderr


def test_a_server_without_stderr_serves() -> None:
    command = f"exec {COMMAND} serve --model dummy --port 0 2>&-"
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("voxgate listening on http://")
        server.terminate()
        assert server.wait(60) == 0
