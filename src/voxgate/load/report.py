"""The report of a run, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from voxgate.client.printable import printable

from .quantiles import Quantiles
from .run import Counts, Outcome
from .websocket import NO_CODE

__all__ = ["Heading", "as_json", "commit", "document", "machine", "table", "versions"]

SCHEMA = 1
_LATE = "~"
GOOD_CLOSES = ("1000", str(NO_CODE))  # a stream that ends with them too early is counted as failed
_PACKAGES = ("voxgate", "numpy", "msgspec", "uvloop", "uvicorn", "starlette", "websockets")


class Heading:
    """A style without colours."""

    def grey(self, text: str) -> str:
        return text

    def red(self, text: str) -> str:
        return text


def document(outcome: Outcome, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The complete report. When the generator was late (`is_late`), all times include its own delays."""
    fields: dict[str, Any] = msgspec.to_builtins(outcome)
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "settings": dict(settings),
        **fields,
    }


def as_json(report: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def machine() -> dict[str, Any]:
    return {"cpu": _cpu(), "cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _cpu() -> str:
    """The CPU's name, with family and model: a virtual machine may report no more than "AMD EPYC" as the name."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            pairs = (line.partition(":") for line in file)
            fields = {key.strip(): value.strip() for key, _, value in pairs}
    except OSError:
        return name
    name = fields.get("model name", name)
    return (
        f"{name} (family {fields['cpu family']}, model {fields['model']})"
        if {"cpu family", "model"} <= fields.keys()
        else name
    )


def versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout that contains this file, with a + for local changes; None outside of a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None  # installed into an environment inside another checkout
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def table(outcome: Outcome, late_ms: float, style: Any = None) -> str:
    """The report as lines of text. `style`: with the methods `grey` and `red`."""
    style = style or Heading()
    counts = outcome.counts
    lines = [f"streams      {counts.completed} of {counts.started} complete, all live for {outcome.window_s:.1f} s"]
    for name, values in (
        ("refused", {_refusal(counts, status): count for status, count in counts.refusals.items()}),
        ("closed", {code: count for code, count in counts.close_codes.items() if code not in GOOD_CLOSES}),
        ("errors", counts.errors),
        ("failed", {text: count for text, count in counts.failures.items() if not text.startswith("HTTP ")}),
    ):
        if values:
            lines.append(
                style.red(f"{name:<13}" + ", ".join(f"{count} x {printable(what)}" for what, count in values.items()))
            )
    if counts.different:
        first = printable(counts.differences[0])
        lines.append(style.red(f"different    {counts.different} streams, such as: {first}"))
    if not counts.connected:
        lines.append(style.red("The server accepted no stream, so there are no measurements."))
        return "\n".join(lines)
    if not outcome.has_window:
        lines.append(style.red("All streams were never live for a second: use a longer --duration or fewer streams."))
    late = outcome.late
    if late is not None and outcome.has_window:
        lines.append(
            f"generator    sent late by p50 {late.p50:.2f}, p99 {late.p99:.2f}, max {late.max:.2f} ms; "
            f"{100 * outcome.generator_cpu_cores:.0f} % of a core"
        )
    if outcome.is_late:
        lines.append(
            style.red(
                f"This program was late by more than {late_ms:g} ms (p99): the load was uneven. Rows marked {_LATE}\n"
                f"include the program's own delays. Give it a core of its own, fewer streams, or another machine."
            )
        )
    mark = f" {_LATE}" if outcome.is_late else ""
    server = outcome.server
    if not outcome.has_window:
        pass
    elif server is not None:
        name = f"{'server' + mark:<13}"
        lines.append(
            f"{name}{100 * server.cpu_cores:.1f} % of a core, {server.cpu_us_per_message:.1f} us a message; "
            f"{server.memory_mib:.0f} MiB, {server.memory_kib_per_stream:.0f} KiB a stream"
        )
    else:
        lines.append("server       CPU and memory unknown: no /metrics there (--metrics URL, or --pid)")
    rows = [
        _row(name + mark, quantiles)
        for name, quantiles in (
            ("connect", outcome.connect),
            ("first result", outcome.first_result),
            ("added latency", outcome.added),
            ("inactive to final", outcome.inactive_to_final),
            ("lag", outcome.lag),
        )
        if quantiles is not None
    ]
    if rows:
        lines += ["", style.grey(f"{'ms':<26}{'p50':>10}{'p95':>10}{'p99':>10}{'p99.9':>10}{'max':>10}{'n':>9}"), *rows]
    return "\n".join(lines)


def _refusal(counts: Counts, status: str) -> str:
    reason = counts.refusal_reasons.get(status)
    return f"HTTP {status}" if reason is None else f"HTTP {status} ({reason})"


def _row(name: str, quantiles: Quantiles) -> str:
    values = (quantiles.p50, quantiles.p95, quantiles.p99, quantiles.p99_9, quantiles.max)
    numbers = "".join(f"{value:>10.1f}" for value in values)
    return f"{name:<26}{numbers}{quantiles.n:>9}"
