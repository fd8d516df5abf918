"""The exporter that the standard variables ask for."""

import logging

import pytest

from voxgate.observe.tracing import Tracing


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_no_traces(environ: dict[str, str], caplog: pytest.LogCaptureFixture):
    assert Tracing.from_environment(environ=environ) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: expected otlp, console or none, got 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc or http/protobuf, got 'http/json'",
        ),
    ],
)
def test_what_cannot_be_had_is_said_once_and_the_server_serves(
    environ: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
):
    assert Tracing.from_environment(environ=environ) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert words in record.getMessage()


def test_asked_for_but_not_installed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert Tracing.from_environment(environ={"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (record,) = caplog.records
    assert "pip install 'voxgate[otel]'" in record.getMessage()
