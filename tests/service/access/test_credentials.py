"""Tokens: where they come from, which are good, and the operator's own check."""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
import types

import pytest

from voxgate.config import AuthSettings, ServerSettings, load_config
from voxgate.errors import ConfigError
from voxgate.service.access import Gate, Hook, Judgement, Tokens, Verdict, credentials_of
from voxgate.service.access.credentials import holder_of, read_tokens

SECRET = "s3cr3t-t0ken-%"


def bearer(value: str | bytes) -> tuple[bytes, bytes]:
    return b"authorization", value if isinstance(value, bytes) else value.encode()


def subprotocol(token: str | bytes) -> str:
    data = token if isinstance(token, bytes) else token.encode()
    return "voxgate.token." + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_header(scheme):
    assert credentials_of([bearer(f"{scheme} {SECRET}")]) == SECRET
    assert credentials_of([bearer(f"{scheme}   {SECRET} ")]) == SECRET


@pytest.mark.parametrize("token", ["a", "ab", "abc", "abcd", SECRET, "~~~???>>>", "µ"])
def test_a_subprotocol(token):
    assert credentials_of([], ["voxgate.v1", subprotocol(token)]) == token
    assert credentials_of([], [subprotocol(token)]) == token


def test_no_credentials():
    assert credentials_of([]) is None
    assert credentials_of([], ["voxgate.v1", "chat"]) is None
    assert credentials_of([bearer("Basic dXNlcjpwYXNz")]) is None  # a proxy's
    assert credentials_of([bearer("Basic dXNlcjpwYXNz"), bearer("Bearer x")]) == "x"


def test_the_header_comes_before_the_subprotocol():
    assert credentials_of([bearer("Bearer header")], [subprotocol("other")]) == "header"


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ([bearer("Bearer ")], []),
        ([bearer("Bearer")], []),
        ([bearer(b"Bearer \xff\xfe")], []),
        ([bearer("Bearer a"), bearer("Bearer b")], []),
        ([], ["voxgate.token."]),
        ([], ["voxgate.token.a"]),  # no length of base64
        ([], ["voxgate.token.YQ=="]),  # padded
        ([], ["voxgate.token.!!!!"]),
        ([], ["voxgate.token.+/+/"]),  # of the other alphabet
        ([], [subprotocol(b"\xff\xfe")]),
        ([], [subprotocol("a"), subprotocol("b")]),
    ],
)
def test_credentials_that_cannot_be_read_are_bad_ones(headers, subprotocols):
    assert credentials_of(headers, subprotocols) == ""
    assert "" not in Tokens({"": None, "a": None})


def test_all_tokens_are_compared_always(monkeypatch):
    compared = []
    from voxgate.service.access import credentials

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(credentials, "hmac", types.SimpleNamespace(compare_digest=compare))
    tokens = Tokens({"one": None, "two": 3, "three": None})
    for token in ("one", "three", "x", "", "on", "onee", "ONE", "\ud800"):
        compared.clear()
        assert (token in tokens) == (token in ("one", "three"))
        assert len(compared) == 3
        assert all(len(a) == len(b) == 32 for a, b in compared)
        compared.clear()
        assert tokens.max_streams(token) is None
        assert len(compared) == 3
    assert tokens.max_streams("two") == 3


def gate(**settings) -> Gate:
    return Gate(AuthSettings(**settings), ServerSettings())


def test_without_tokens_nobody_is_asked_for_one():
    assert not gate().asks_for_token


def test_tokens_from_the_settings_and_a_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# ours\n\n  {SECRET}  # of the front end\nwith#inside\r\n\t#gone\nlast", encoding="utf-8-sig")
    it = gate(tokens="one, two,", tokens_file=str(path))
    assert it.asks_for_token
    for token in ("one", "two", SECRET, "with#inside", "last"):
        assert it.judge(token) is Verdict.GOOD
    for token in ("", "#", "gone", "# ours", "one, two", "three"):
        assert it.judge(token) is Verdict.BAD


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"auth.tokens_file: cannot read .*none: No such file"):
        gate(tokens_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"auth.tokens_file: cannot read .*Is a directory"):
        gate(tokens_file=str(tmp_path))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected a token a line, got none"),
        (b"# only\n \n", "expected a token a line, got none"),
        (b"ok\n" + SECRET.encode() + b" two\n", "line 2: expected one token, without blanks"),
        (SECRET.encode() + b"\x00", "line 1: expected one token, without blanks"),
        (f"ok\n{SECRET}µ\n".encode(), "line 2: expected a token in ASCII"),
        (f"{SECRET}\u200b\n".encode(), "line 1: expected a token in ASCII"),
        (b"x" * 20_000, "line 1: expected a token of at most 16384 bytes"),
        (b"\xff\xfe" + SECRET.encode("utf-16-le"), "expected UTF-8 text"),
    ],
)
def test_a_file_that_holds_something_else(tmp_path, data, problem):
    path = tmp_path / "tokens"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=problem) as caught:
        gate(tokens_file=str(path))
    assert "s3cr3t" not in str(caught.value)


def test_a_setting_that_holds_something_else():
    with pytest.raises(ConfigError, match=r"auth.tokens: token 2: expected one token") as caught:
        gate(tokens=f"ok, {SECRET} {SECRET}")
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError, match=r"auth.tokens: token 2: expected a token in ASCII") as caught:
        gate(tokens=f"ok,{SECRET}日本")
    assert SECRET not in str(caught.value)


def test_limits_of_single_tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("a streams=3 # front end\nb\tstreams=1000000\nc=streams=4\nstreams=5\nd streams=9\n")
    tokens = read_tokens("d streams=7, a,e streams=1", str(path))
    assert tokens == {"d": 7, "a": 3, "e": 1, "b": 1_000_000, "c=streams=4": None, "streams=5": None}
    it = gate(tokens="d streams=7")
    assert (it.judge("d"), it.judge("d streams=7"), it.max_streams("d"), it.max_streams("x")) == (
        *(Verdict.GOOD, Verdict.BAD),
        *(7, None),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{SECRET} streams=0", "token 1: expected streams=1..1000000 behind the token"),
        (f"{SECRET} streams=1000001", "token 1: expected streams=1..1000000 behind the token"),
        (f"{SECRET} streams=" + "9" * 5000, "token 1: expected streams=1..1000000 behind the token"),
        (f"{SECRET} streams=-1", "token 1: expected one token, without blanks"),
        (f"{SECRET} streams=\u0663", "token 1: expected a token in ASCII"),
        (f"{SECRET} streams=1 streams=2", "token 1: expected one token, without blanks"),
    ],
)
def test_limits_that_are_none(text, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        read_tokens(text, None)
    assert SECRET not in str(caught.value)


def test_what_stands_for_a_token():
    named = [holder_of(token, name) for token, name in (("a", "ann"), ("b", "ann"), ("a", "bob"))]
    assert named[0] == named[1] != named[2]
    assert len({*named, holder_of("ann", None), holder_of("bob", None)}) == 4
    assert SECRET not in holder_of(SECRET, None)
    assert holder_of(SECRET, None) == holder_of(SECRET, None)


@pytest.mark.parametrize("around", ["{}\n", " {}", "\t{}\r\n", "\n{}\n\n"])
def test_white_space_around_a_token_is_none_of_it(tmp_path, around):
    """A file ends with a line feed, and so does what a shell reads from it."""
    path = tmp_path / "tokens"
    path.write_text(around.format(SECRET))
    assert gate(tokens=around.format(SECRET)).judge(SECRET) is Verdict.GOOD
    assert gate(tokens_file=str(path)).judge(SECRET) is Verdict.GOOD
    config = load_config(environ={"VOXGATE_AUTH_TOKENS": around.format(SECRET)})
    assert Gate(config.auth, config.server).judge(SECRET) is Verdict.GOOD


# The hook


def ask(function, *tokens: str, timeout_s: float = 30.0, n_calls: int = 4) -> list[Judgement]:
    hook = Hook(function, "mine:check", timeout_s, n_calls)

    async def main() -> list[Judgement]:
        return [await hook.ask(token) for token in tokens]

    return asyncio.run(main())


class Checker:
    async def __call__(self, token: str) -> bool:
        return token == "good"


async def coroutine(token: str) -> bool:
    await asyncio.sleep(0)
    return token == "good"


@pytest.mark.parametrize("function", [lambda token: token == "good", coroutine, Checker(), lambda t: coroutine(t)])
def test_plain_and_async_hooks(function):
    assert ask(function, "good", "bad") == [Judgement(Verdict.GOOD), Judgement(Verdict.BAD)]


def test_a_plain_hook_does_not_run_on_the_loop():
    threads = []

    def check(token: str) -> bool:
        threads.append(threading.current_thread())
        return True

    ask(check, "a")
    assert threads[0] is not threading.current_thread()


async def raises_async(token: str) -> bool:
    raise KeyError(token)


def raises(token: str) -> bool:
    raise KeyError(token)


def leaves(token: str) -> bool:
    raise SystemExit(token)


async def leaves_async(token: str) -> bool:
    raise SystemExit(token)


async def gives_up(token: str) -> bool:
    raise asyncio.CancelledError(token)


async def no_arguments() -> bool:
    return True


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (raises, "failed with KeyError (test_credentials.py, line "),
        (raises_async, "failed with KeyError (test_credentials.py, line "),
        (leaves, "failed with SystemExit"),
        (leaves_async, "failed with SystemExit"),
        (gives_up, "failed with CancelledError"),
        (no_arguments, "failed with TypeError"),
        (lambda token: token, "answered the token, not the name of a client"),
        (lambda token: "", "answered a name of 0 characters, not of 1..256"),
        (lambda token: "n" * 257, "answered a name of 257 characters, not of 1..256"),
        (lambda token: {"user": token}, "answered dict, not a bool or a str"),
        (lambda token: None, "answered NoneType, not a bool or a str"),
        (lambda token: 1, "answered int, not a bool or a str"),
    ],
)
def test_a_hook_that_fails_lets_nobody_in_and_its_error_shows_no_token(function, problem, caplog):
    caplog.set_level(logging.DEBUG)
    assert ask(function, SECRET, SECRET) == [Judgement(Verdict.UNKNOWN)] * 2
    messages = [record.getMessage() for record in caplog.records if record.name == "voxgate.service.access"]
    assert len(messages) == 1  # not for each
    assert problem in messages[0]
    assert "1 failure so far" in messages[0]
    assert SECRET not in caplog.text


def test_a_hook_may_name_the_client():
    names = {"a": "Anna", "b": True, "c": False}
    assert ask(names.get, "a", "b", "c") == [
        Judgement(Verdict.GOOD, "Anna"),
        Judgement(Verdict.GOOD),
        Judgement(Verdict.BAD),
    ]


def test_a_hook_that_hangs_keeps_its_place_until_it_returns(caplog):
    async def main() -> None:
        released = threading.Event()

        def check(token: str) -> bool:
            return token == "quick" or released.wait(30)

        hook = Hook(check, "mine:check", timeout_s=0.01, n_calls=2)
        assert await hook.ask("slow") == Judgement(Verdict.UNKNOWN)
        assert await hook.ask("slow") == Judgement(Verdict.UNKNOWN)
        assert "gave no answer within 0.01 s" in caplog.text
        hook._timeout_s = 30
        n_threads = threading.active_count()
        assert [await hook.ask("quick") for _ in range(20)] == [Judgement(Verdict.UNKNOWN)] * 20
        assert threading.active_count() == n_threads
        released.set()
        while await hook.ask("quick") != Judgement(Verdict.GOOD):
            await asyncio.sleep(0)
        assert hook.failures >= 22

    asyncio.run(main())


def test_one_address_has_a_quarter_of_the_places():
    async def main() -> None:
        asked, released = asyncio.Event(), asyncio.Event()

        async def check(token: str) -> bool:
            asked.set()
            await released.wait()
            return True

        hook = Hook(check, "mine:check", timeout_s=30, n_calls=8)
        first = [asyncio.create_task(hook.ask("a", "192.0.2.1")) for _ in range(2)]
        await asked.wait()
        assert await hook.ask("a", "192.0.2.1") == Judgement(Verdict.UNKNOWN)
        others = [asyncio.create_task(hook.ask("a", address)) for address in ("192.0.2.2", None, None, None)]
        released.set()
        assert await asyncio.gather(*first, *others) == [Judgement(Verdict.GOOD)] * 6
        assert await hook.ask("a", "192.0.2.1") == Judgement(Verdict.GOOD)
        assert not hook._of_address

    asyncio.run(main())


def test_an_async_hook_that_hangs_is_cancelled():
    async def main() -> None:
        cancelled = asyncio.Event()

        async def check(token: str) -> bool:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return True

        assert await Hook(check, "mine:check", timeout_s=0.01, n_calls=1).ask("a") == Judgement(Verdict.UNKNOWN)
        await cancelled.wait()

    asyncio.run(main())


def test_static_tokens_do_not_need_the_hook(monkeypatch, tmp_path):
    (tmp_path / "asked_of.py").write_text("def check(token):\n    return token == 'from-hook'\nnumber = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    it = gate(hook="asked_of:check", tokens="static")
    assert it.asks_for_token
    assert it.judge("static") is Verdict.GOOD
    assert it.judge("from-hook") is Verdict.UNKNOWN
    assert it.judge("") is Verdict.BAD
    assert [asyncio.run(it.check(token)).verdict for token in ("static", "from-hook", "x")] == [
        Verdict.GOOD,
        Verdict.GOOD,
        Verdict.BAD,
    ]
    for name in ("asked_of:none", "no_such_module_here:check", "asked_of", "asked_of:number"):
        with pytest.raises(ConfigError, match=r"auth.hook: "):
            gate(hook=name)


@pytest.mark.parametrize("text", [",", " ", " , ,", "\n"])
def test_a_text_without_any_token_lets_nobody_in_by_mistake(text):
    """As a template makes it whose secrets are empty: without tokens, everybody would be let in."""
    with pytest.raises(ConfigError, match=r"auth\.tokens: expected tokens separated by commas, got only commas"):
        read_tokens(text, None)
