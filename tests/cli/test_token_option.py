"""The token of the environment."""

from __future__ import annotations

import pytest

from voxgate.cli.token_option import token_from_environment


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({}, None),
        ({"VOXGATE_TOKEN": ""}, None),
        ({"VOXGATE_TOKEN": " \n"}, None),
        ({"VOXGATE_TOKEN": " s3cret\n"}, "s3cret"),
    ],
)
def test_the_token_of_the_environment(environ: dict[str, str], token: str | None) -> None:
    assert token_from_environment(environ) == token
