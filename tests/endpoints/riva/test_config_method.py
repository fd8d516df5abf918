"""`GetRivaSpeechRecognitionConfig`."""

from __future__ import annotations

import grpc

from helpers.riva import refused, served_config
from voxgate.proto.riva import CONFIG


def test_the_model(port):
    models = served_config(port).model_config
    assert [model.model_name for model in models] == ["words_of_length"] * 2
    assert [model.parameters["type"] for model in models] == ["online", "offline"]
    assert models[0].parameters["sample_rate"] == "16000"
    assert len(served_config(port, "words_of_length").model_config) == 2
    assert len(served_config(port, "another").model_config) == 0


def test_bytes_that_are_no_request(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        code, details, _ = refused(lambda: [channel.unary_unary(CONFIG)(b"\xff", timeout=30)])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("message: expected a RivaSpeechRecognitionConfigRequest")


def test_a_token(serve):
    server = serve(**{"grpc.port": 0, "auth.tokens": "good"})
    code, _, _ = refused(lambda: [served_config(server.server.grpc_port)])
    assert code is grpc.StatusCode.UNAUTHENTICATED
