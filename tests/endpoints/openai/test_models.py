"""The model in OpenAI's words."""

from __future__ import annotations

from helpers.http_client import HttpClient, request
from helpers.wires import words_of_length


def get(server, path, **headers):
    with HttpClient(server.port) as client:
        client.send(request("GET", path, **headers))
        return client.answer()


def test_the_model(serve):
    server = serve(words_of_length)
    status, _, body = get(server, "/v1/models")
    (model,) = body["data"]
    assert (status, body["object"], model["object"], model["id"]) == (200, "list", "model", "words_of_length")
    assert get(server, "/v1/models/words_of_length")[2] == model
    status, _, body = get(server, "/v1/models/whisper/1")
    assert (status, body["error"]["code"]) == (404, "model_not_found")


def test_it_asks_for_the_token(serve):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    for path in ("/v1/models", "/v1/models/x"):
        assert get(server, path)[0] == 401
    assert get(server, "/v1/models", authorization="Bearer good")[0] == 200


def test_a_page_of_another_origin(serve):
    server = serve(words_of_length, **{"auth.origins": "https://app.example.com", "auth.tokens": "good"})
    page = {"origin": "https://app.example.com"}
    with HttpClient(server.port) as client:
        client.send(
            request("OPTIONS", "/v1/models", access_control_request_headers="authorization,x-stainless-os", **page)
        )
        status, headers = client.head()
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")
    assert headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    status, headers, body = get(server, "/v1/models", **page)
    assert (status, headers["www-authenticate"], body["error"]["code"]) == (401, "Bearer", "invalid_api_key")
    assert headers["access-control-allow-origin"] == page["origin"]
