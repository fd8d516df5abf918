"""A live model that is a transcription server elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
import numpy as np

from voxgate.errors import InferenceError, ModelLoadError
from voxgate.models.base import Model, Samples
from voxgate.models.openai.failure import Failure
from voxgate.models.openai.wav import wav
from voxgate.models.optional import Needs
from voxgate.models.ranges import check_number
from voxgate.models.request import Request
from voxgate.runtime.throttle import Throttle, and_more

if TYPE_CHECKING:
    from voxgate.models.openai.endpoint import Endpoint

__all__ = ["OpenAI"]

logger = logging.getLogger("voxgate.models.openai")

_KEY_VARIABLE = "OPENAI_API_KEY"
_SHORTEST_S = 0.1
_WARM_UP_S = 120.0
"""The server may load its model at the first call."""
_QUIET_S = 60
_PATH = "/audio/transcriptions"


class OpenAI(Model):
    """Speech to text by any server with OpenAI's ``/v1/audio/transcriptions``: vLLM, speaches, LocalAI, OpenAI.

    The answer:

    ``text``
        the transcript; empty for less than a tenth of a second of audio.
    ``language``, ``words``, ``segments``
        with ``response_format = "verbose_json"``, as far as the server gives them. Words are
        ``{"word", "start", "end"}``, segments ``{"text", "start", "end"}``, in seconds from the start of the audio.

    With ``stream = true``, what the server has written up to now is an interim of the call.

    A call sends its audio as a WAV file of 16-bit PCM. Up to ``inference.concurrency`` calls wait for the server at
    once, on kept connections. A final is tried again, with increasing delays, after 429 (not before its
    ``Retry-After``), after 5xx and after a lost connection, until `timeout_s` is over; an interim is tried once.
    The key is sent to the configured address alone, and appears in no log and in no error.
    """

    name = "openai"
    sample_rate = 16_000
    gives_text = True
    needs: ClassVar[Needs] = Needs("openai", "httpx", "openai")

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """What a client may choose for its session; what it leaves out is as the server was configured."""

        language: (
            Annotated[
                str,
                msgspec.Meta(
                    pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
                    description="language, such as en or de",
                ),
            ]
            | None
        ) = None
        prompt: (
            Annotated[str, msgspec.Meta(max_length=4000, description="text that sets style and spelling")] | None
        ) = None

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        language: str | None = None,
        prompt: str | None = None,
        temperature: float | None = None,
        response_format: Literal["json", "verbose_json"] = "json",
        stream: bool = False,
        timeout_s: float = 30.0,
        key_variable: str = _KEY_VARIABLE,
    ) -> None:
        """`url`: the base address, ``http://localhost:8000/v1``; without a path it gets ``/v1``.

        model: the name of the model there; None: the only one that the server lists. language: "en", "de" ...; None:
        the server detects it. prompt: text that sets style and spelling. temperature: 0..1; None: the server's default.
        response_format: "verbose_json" asks for times of words and segments. stream: ask for tokens as they are
        decoded. timeout_s: the longest duration of a call with all its tries, 0.1..3600. key_variable: the environment
        variable with the key; without one no key is sent.

        Raises ValueError for a value that cannot be used; ModelLoadError without the package.
        """
        self._url = _base(url)
        self._model = model
        self._fields: dict[str, str | list[str]] = {"response_format": response_format}
        if response_format not in ("json", "verbose_json"):
            raise ValueError(f"response_format must be json or verbose_json, not {response_format!r}")
        if response_format == "verbose_json":
            self._fields["timestamp_granularities[]"] = ["word", "segment"]
        if stream:
            if response_format != "json":
                raise ValueError("stream needs response_format = 'json': a stream contains no times")
            self._fields["stream"] = "true"
        if temperature is not None:
            self._fields["temperature"] = f"{check_number('temperature', temperature, 0.0, 1.0):g}"
        self._timeout_s = check_number("timeout_s", timeout_s, 0.1, 3600.0)
        self._defaults = self.Options(language=language, prompt=prompt)
        self._key = _key(key_variable)
        self._key_variable = key_variable
        self.needs.load()
        # Made here and not by the first call: reading the certificates takes a tenth of a second.
        self._endpoint: Endpoint | None = self._made()
        self._quiet = Throttle(_QUIET_S)

    async def warm_up(self) -> None:
        """Asks the server for its models, and transcribes a second of faint noise. Raises ModelLoadError, with what is
        wrong, when it does not answer as it should.
        """
        if self._key and _is_readable_on_the_way(self._url):
            logger.warning("the key of %s goes unencrypted to %s", self._key_variable, self._url)
        endpoint = self._connected()
        deadline_s = asyncio.get_running_loop().time() + _WARM_UP_S
        noise = (1e-3 * np.random.default_rng(0).standard_normal(self.sample_rate)).astype(np.float32)
        listed: list[str] = []
        try:
            listed = await endpoint.models(deadline_s)
            if self._model is None:
                self._model = _only(listed)
            body = wav(noise, self.sample_rate)
            async for _ in endpoint.transcribe(self._form(None), body, deadline_s, is_patient=False):
                pass
        except Failure as failure:
            listing = f"; it lists {_names(listed)}" if listed else ""
            raise ModelLoadError(f"model 'openai': the server {self._url} {failure.detail}{listing}") from None

    async def infer(self, audio: Samples, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        if len(audio) < _SHORTEST_S * self.sample_rate:
            yield {"text": ""}
            return
        endpoint = self._connected()
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        body = wav(audio, self.sample_rate)
        try:
            if self._model is None:  # there was no warm-up
                self._model = _only(await endpoint.models(deadline_s))
            fields = self._form(request.options)
            async with contextlib.aclosing(
                endpoint.transcribe(fields, body, deadline_s, is_patient=request.final)
            ) as answers:
                async for answer in answers:
                    yield answer
        except Failure as failure:
            if (n_left_out := self._quiet.admit(failure.detail)) is not None:
                logger.warning("the model server %s %s%s", self._url, failure.detail, and_more(n_left_out))
            raise InferenceError(str(failure)) from None

    async def close(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.aclose()
            self._endpoint = None

    def _connected(self) -> Endpoint:
        """Belongs to the loop of the calls, as :meth:`warm_up` and :meth:`close` do."""
        if self._endpoint is None:  # it was closed
            self._endpoint = self._made()
        return self._endpoint

    def _made(self) -> Endpoint:
        from voxgate.models.openai.endpoint import Endpoint  # needs the package

        return Endpoint(self._url, self._key, self._key_variable)

    def _form(self, options: Any) -> dict[str, str | list[str]]:
        fields = dict(self._fields)
        if self._model is not None:
            fields["model"] = self._model
        for name in ("language", "prompt"):
            value = getattr(options, name, None) or getattr(self._defaults, name)
            if value:
                fields[name] = value
        return fields


def _base(url: str) -> str:
    """The address without a slash at its end. Raises ValueError, which never quotes a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected the address of a server after the colon, as in openai:http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected an address without a password: the key belongs in an environment variable")
    if parts.query or parts.fragment:
        raise ValueError("expected an address without ? and #")
    _ = parts.port  # raises for one out of range
    path = parts.path.rstrip("/").removesuffix(_PATH) or "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _is_readable_on_the_way(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and host not in ("localhost", "::1") and not host.startswith("127.")


def _key(variable: str) -> str | None:
    """The key in the environment, or None. Raises ValueError, without the value, for one that no header can carry."""
    key = os.environ.get(variable, "").strip()
    if not key:
        if variable != _KEY_VARIABLE:
            raise ValueError(f"expected a key in the environment variable {variable}, which is not set")
        return None
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(f"expected a key of visible ASCII characters in the environment variable {variable}")
    return key


def _only(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    found = "several models" if names else "no models"
    raise Failure("The model of the model server is not configured", f"lists {found}: the option 'model' is required")


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
