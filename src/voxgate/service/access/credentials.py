"""Tokens: where a client puts them, and whether they are good. None of them ever reaches a log or an error."""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hashlib
import hmac
import inspect
import logging
import os
import re
import secrets
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from voxgate.errors import ConfigError
from voxgate.protocol.tokens import clean_token
from voxgate.runtime import tasks
from voxgate.runtime.counted import counted
from voxgate.runtime.import_name import ImportNameError, import_name
from voxgate.runtime.throttle import Throttle
from voxgate.service.access.addresses import Headers, values_of

__all__ = ["SUBPROTOCOL", "Hook", "Judgement", "Tokens", "Verdict", "credentials_of", "holder_of"]

logger = logging.getLogger("voxgate.service.access")

SUBPROTOCOL: Final = "voxgate.v1"
TOKEN_SUBPROTOCOL: Final = "voxgate.token."
REPORT_EVERY_S: Final = 10.0
MAX_STREAMS: Final = 1_000_000
_OWN_LIMIT: Final = re.compile(r"\sstreams=([0-9]+)\s*\Z")


class Verdict(enum.Enum):
    """What is known about a token."""

    GOOD = enum.auto()
    BAD = enum.auto()
    UNKNOWN = enum.auto()
    """Nobody could be asked: the hook failed, gave no answer in time, or has too many questions already."""


class Judgement(NamedTuple):
    """The verdict on one token."""

    verdict: Verdict
    identity: str | None = None
    """The name of the client, if the hook returned one; only with GOOD."""


MAX_IDENTITY: Final = 256
"""The longest name of a client, in characters."""

_UNKNOWN: Final = Judgement(Verdict.UNKNOWN)


def credentials_of(headers: Headers, subprotocols: Sequence[str] = ()) -> str | None:
    """The token of an HTTP request or an upgrade: `Authorization: Bearer TOKEN`, or a subprotocol
    `voxgate.token.BASE64URL` for web pages, which cannot set headers. None: there is none; the empty string, which is
    never good, stands for one that cannot be read.

    Other schemes of authorization are none of ours: a proxy in front may have asked for them.
    """
    parts = [value.partition(b" ") for value in values_of(headers, b"authorization")]
    values = [value for scheme, _, value in parts if scheme.lower() == b"bearer"]
    if values:
        return _decode(values[0].strip()) if len(values) == 1 else ""
    offered = [name for name in subprotocols if name.startswith(TOKEN_SUBPROTOCOL)]
    if not offered:
        return None
    encoded = offered[0].removeprefix(TOKEN_SUBPROTOCOL)
    if len(offered) > 1 or not re.fullmatch(r"[A-Za-z0-9_-]+", encoded):
        return ""
    try:
        return _decode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return ""


def holder_of(token: str, identity: str | None) -> str:
    """The key under which streams of a valid token are counted: a hash of the client's name if the hook gave one (a
    client may have many tokens), otherwise of the token. Equal in all processes, so that they can count together.
    """
    kind, text = (b"token", token) if identity is None else (b"name", identity)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=kind).hexdigest()


def _decode(token: bytes) -> str:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return ""


class Tokens:
    """The tokens that are let in without asking anybody."""

    def __init__(self, tokens: Mapping[str, int | None]) -> None:
        """The limit of streams of each token; None: it has none of its own."""
        # Digests under a key that nobody knows: how long a comparison takes says nothing about a token, whatever the
        # comparison does.
        self._key = secrets.token_bytes(32)
        self._digests = [self._digest(token) for token in sorted(tokens)]
        self._max_streams = [tokens[token] for token in sorted(tokens)]

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, token: str) -> bool:
        return any(self._matches(token)) and token != ""

    def max_streams(self, token: str) -> int | None:
        """The token's own limit of streams; None without one, or for a token that is none of these."""
        return next((own for own, is_it in zip(self._max_streams, self._matches(token), strict=True) if is_it), None)

    def _matches(self, token: str) -> list[bool]:
        """Always compares with all of them."""
        digest = self._digest(token)
        return [hmac.compare_digest(digest, known) for known in self._digests]

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()


def read_tokens(text: str, path: str | None) -> dict[str, int | None]:
    """The tokens of the settings (separated by commas) and of a file (one a line; `#` begins a comment), each with its
    own limit of streams, or None. ConfigError for a text or a file that holds none, for a file that cannot be read, and
    for what is no token; it says where that stands, not what.
    """
    items = [item for item in text.split(",") if item.strip()]
    if text and not items:  # without tokens everybody would be let in
        raise ConfigError("auth.tokens: expected tokens separated by commas, got only commas and white space")
    found = [_parse(item, f"auth.tokens: token {number}") for number, item in enumerate(items, 1)]
    if path is None:
        return _merged(found)
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"auth.tokens_file: cannot read {path}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"auth.tokens_file: expected UTF-8 text, got something else in {path}") from None
    from_file = []
    for number, line in enumerate(lines, 1):
        item = re.split(r"(?:^|\s)#", line, maxsplit=1)[0]
        if item.strip():
            from_file.append(_parse(item, f"auth.tokens_file: {path}, line {number}"))
    if not from_file:
        raise ConfigError(f"auth.tokens_file: expected a token a line, got none in {path}")
    return _merged(found + from_file)


def _parse(text: str, where: str) -> tuple[str, int | None]:
    """`TOKEN` or `TOKEN streams=N`."""
    own = _OWN_LIMIT.search(text)
    if own is None:
        return _clean(text, where), None
    max_streams = int(own[1]) if len(own[1]) <= len(str(MAX_STREAMS)) else 0
    if not 1 <= max_streams <= MAX_STREAMS:
        raise ConfigError(f"{where}: expected streams=1..{MAX_STREAMS} behind the token, got another number")
    return _clean(text[: own.start()], where), max_streams


def _merged(tokens: Sequence[tuple[str, int | None]]) -> dict[str, int | None]:
    """Of a token that occurs more than once, the smallest limit counts."""
    merged: dict[str, int | None] = {}
    for token, own in tokens:
        known = merged.get(token)
        merged[token] = own if known is None else known if own is None else min(known, own)
    return merged


def _clean(text: str, where: str) -> str:
    try:
        return clean_token(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


class Hook:
    """The operator's own check, ``function(token: str) -> bool | str``, plain or async. A str is a yes with the name of
    the client: 1..256 characters, and not the token, because it appears in the log.

    A plain one runs on a thread of its own, off the event loop, and may block. At most `n_calls` run at once; one that
    does not return keeps its place until it does, so that a check that hangs cannot fill the process with threads.
    One address has a quarter of the places, so that a stranger with bad tokens leaves room for others. What goes wrong
    in it lets nobody in.
    """

    def __init__(self, function: Callable[[str], Any], name: str, timeout_s: float, n_calls: int) -> None:
        self._function = function
        self._name = name
        self._timeout_s = timeout_s
        self._n_free = n_calls
        self._max_of_address = max(1, n_calls // 4)
        self._of_address: Counter[str | None] = Counter()
        call = type(function).__call__
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        self._throttle = Throttle(REPORT_EVERY_S)
        self.failures = 0
        """Questions that it did not answer."""

    @classmethod
    def load(cls, name: str, timeout_s: float, n_calls: int) -> Hook:
        """`name`: `pkg.module:function`. Raises ConfigError when it cannot be imported or is not callable."""
        try:
            function = import_name(name)
        except ImportNameError as error:
            raise ConfigError(f"auth.hook: {name!r}: {error}") from error.__cause__
        if not callable(function):
            raise ConfigError(f"auth.hook: {name!r} cannot be called: it is of type {type(function).__name__}")
        return cls(function, name, timeout_s, n_calls)

    async def ask(self, token: str, address: str | None = None) -> Judgement:
        """Never raises for what the hook does, and returns within its time. `address`: who wants to know, None for
        somebody who is not known.
        """
        if self._n_free == 0 or (address is not None and self._of_address[address] >= self._max_of_address):
            self._report("has as many questions as it, or one address, may have at once (auth.hook_calls)")
            return _UNKNOWN
        self._n_free -= 1
        self._of_address[address] += 1
        asking = tasks.spawn_task(self._ask(token, address), "access-hook", "access")
        done, _ = await asyncio.wait({asking}, timeout=self._timeout_s)
        if done:
            return asking.result()
        if self._is_async:
            asking.cancel()
        self._report(f"gave no answer within {self._timeout_s:g} s (auth.hook_timeout_s)")
        return _UNKNOWN

    async def _ask(self, token: str, address: str | None) -> Judgement:
        try:
            if self._is_async:
                answer = self._call(token)
            else:
                answer = await tasks.run_in_thread(lambda: self._call(token), "voxgate-access-hook", "access")
            if inspect.isawaitable(answer):
                answer = await _outcome(answer)
        except RuntimeError:
            answer = _Failure("could not be run: no thread is to be had")
        finally:
            self._n_free += 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]
        if type(answer) is bool:
            return Judgement(Verdict.GOOD if answer else Verdict.BAD)
        if type(answer) is str and 1 <= len(answer) <= MAX_IDENTITY and answer != token:
            return Judgement(Verdict.GOOD, answer)
        if isinstance(answer, _Failure):
            self._report(answer.text)
        elif answer == token:  # The identity appears in the log.
            self._report("answered the token, not the name of a client")
        elif type(answer) is str:
            self._report(f"answered a name of {len(answer)} characters, not of 1..{MAX_IDENTITY}")
        else:
            self._report(f"answered {type(answer).__name__}, not a bool or a str")
        return _UNKNOWN

    def _call(self, token: str) -> Any:
        try:
            return self._function(token)
        except BaseException as error:
            return _Failure.of(error)

    def _report(self, what: str) -> None:
        self.failures += 1
        if self._throttle.admit() is not None:
            failures = counted(self.failures, "failure")
            logger.error("auth.hook %s %s; the client is not let in (%s so far)", self._name, what, failures)


class _Failure(NamedTuple):
    """In place of the hook's answer."""

    text: str

    @classmethod
    def of(cls, error: BaseException) -> _Failure:
        """The kind of an exception and its place. Not its text, which may well hold the token."""
        frames = traceback.extract_tb(error.__traceback__)
        place = (
            f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}, in {frames[-1].name})"
            if frames
            else ""
        )
        return cls(f"failed with {type(error).__name__}{place}")


async def _outcome(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # it is we who do not wait any longer
        return _Failure.of(error)
