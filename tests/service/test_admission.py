"""The limits before the upgrade."""

from __future__ import annotations

import logging

import pytest

from voxgate.config import AuthSettings, LimitsSettings
from voxgate.endpoints.refusals import STATUSES
from voxgate.service.admission import Admission, Permit, Refusal, RefusalKind
from voxgate.service.client_info import UNKNOWN_CLIENT, ClientInfo


class Load:
    not_ready: str | None = None
    draining_until_s: float | None = None
    queue_wait_s = 0.0
    buffered_audio_is_full = False


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make(pending_streams: int = 64, **limits) -> Admission:
    return Admission(LimitsSettings(**limits), AuthSettings(pending_streams=pending_streams), Load(), Clock())


def admit(admission: Admission, address: str | None = "1.2.3.4", is_pending: bool = False) -> Permit:
    permit = admission.admit(ClientInfo(address), is_pending)
    assert isinstance(permit, Permit), permit
    return permit


def refusal(admission: Admission, address: str | None = "1.2.3.4", is_pending: bool = False) -> tuple[int, str]:
    refusal = admission.admit(ClientInfo(address), is_pending)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_s is not None
    return STATUSES[refusal.kind], refusal.reason


def test_nobody_is_let_in_while_it_is_not_ready():
    admission = make()
    admission._load.not_ready = "warming up the model"
    assert refusal(admission) == (503, "not_ready")
    admission._load.draining_until_s = 1.0
    assert refusal(admission) == (503, "draining")
    admission._load.not_ready = None
    assert admit(admission)


def test_streams():
    admission = make(streams=2)
    first, _ = admit(admission, "a"), admit(admission, None)
    assert admission.streams == 2
    assert refusal(admission, "b") == (503, "streams")
    first.release()
    admit(admission, "b")


def test_streams_of_one_address():
    admission = make(streams_per_address=2)
    permits = [admit(admission, "a"), admit(admission, "a"), admit(admission, "b")]
    assert refusal(admission, "a") == (429, "streams_per_address")
    for _ in range(5):
        admit(admission, None)  # whose address is not known is not counted together
    for permit in permits:
        permit.release()
    assert admission.streams == 5
    assert not admission._of_address  # nothing is kept of those who are gone
    assert [admit(admission, "a"), admit(admission, "a")]


def test_streams_of_one_token():
    admission = make()
    permits = [admit(admission, address) for address in ("a", "b", None)]
    assert [permit.count_token("x", 2) for permit in permits[:2]] == [None, None]
    refused = permits[2].count_token("x", 2)
    assert (STATUSES[refused.kind], refused.reason) == (429, "streams_per_token")
    assert refused.text == "2 streams are open with this token"
    permits[2].release()
    assert admission._of_token == {"x": 2}
    permits[0].release()
    assert admit(admission).count_token("x", 2) is None
    assert admit(admission).count_token("x", 3) is None  # Its limit has been raised.
    assert admission._of_token == {"x": 3}


def test_streams_whose_token_is_due():
    admission = make(pending_streams=8)
    first, _ = admit(admission, "a", True), admit(admission, "a", True)
    assert refusal(admission, "a", True) == (429, "pending_streams")
    admit(admission, "a")
    for address in "bbccdd":
        admit(admission, address, True)
    assert admission.pending == 8
    assert refusal(admission, "e", True) == (503, "pending_streams")
    assert refusal(admission, None, True) == (503, "pending_streams")
    admit(admission, "e")
    first.confirm()
    first.confirm()
    assert (admission.pending, admission.streams) == (7, 10)
    admit(admission, "e", True).release()
    first.release()
    assert (admission.pending, admission.streams) == (7, 9)


@pytest.mark.parametrize(("streams", "most"), [(1, 1), (3, 1), (8, 2), (40, 8)])
def test_they_never_have_more_than_a_quarter_of_the_server(streams, most):
    admission = make(pending_streams=8, streams=streams)
    for number in range(most):
        admit(admission, str(number), True)
    assert refusal(admission, "x", True)[0] == 503


def test_refusals_are_counted_and_logged_once_in_a_while(caplog):
    caplog.set_level(logging.INFO)
    admission = make()
    full = Refusal(RefusalKind.UNAVAILABLE, "streams", "server full: 2 streams are open", 5)
    for _ in range(1000):
        admission.record(full, "native")
        admission.record(Refusal(RefusalKind.NOT_FOUND, "not_found", "nothing at /a\nb" + "c" * 1000), "http")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0] == "refused a connection (streams): 'server full: 2 streams are open'"
    assert "\n" not in lines[1]
    assert len(lines[1]) < 300
    assert admission.refused == {("streams", "native"): 1000, ("not_found", "http"): 1000}
    admission._clock.now_s += 5
    admission.record(full, "native")
    assert caplog.records[-1].getMessage().endswith(" (999 more like it since the last such line)")
    assert len(caplog.records) == 3


def test_those_turned_away_together_do_not_come_back_together():
    admission = make(streams=1)
    admit(admission)
    assert len({admission.admit(ClientInfo("a")).retry_after_s for _ in range(200)}) > 3


# Overload


def test_nobody_is_let_in_while_calls_wait_too_long():
    admission = make(queue_wait_s=1.0)
    admit(admission)
    admission._load.queue_wait_s = 1.5
    assert refusal(admission) == (503, "queue_wait")
    assert admission.admit(ClientInfo("a")).text == "calls wait 1.5 s for the model"


def test_nobody_is_let_in_while_the_buffers_are_full():
    admission = make()
    admission._load.buffered_audio_is_full = True
    assert refusal(admission) == (503, "buffered_audio")
    admission._load.buffered_audio_is_full = False
    admit(admission)


def fill(admission: Admission, most: int = 10_000) -> int:
    """Lets in whoever may come; how many that are."""
    for number in range(most):
        if isinstance(admission.admit(UNKNOWN_CLIENT), Refusal):
            return number
    return most


def test_as_long_as_nothing_waits_everybody_may_come_at_once():
    admission = make(streams=5000)
    assert fill(admission) == 5000


def test_from_half_of_the_wait_on_there_are_as_many_streams_as_can_be_borne():
    admission = make(queue_wait_s=1.0, streams_per_address=1000)
    permits = [admit(admission) for _ in range(100)]
    admission._load.queue_wait_s = 0.6
    assert refusal(admission) == (503, "queue_wait")
    assert admission.admit(ClientInfo("a")).text == "as many streams are open as the model keeps up with"
    for permit in permits[:8]:
        permit.release()
    assert admission.streams == 92
    assert fill(admission) == 1  # at 93 of 100


def test_while_the_wait_grows_they_become_fewer_and_while_it_falls_they_do_not():
    admission = make(queue_wait_s=1.0)
    for _ in range(100):
        admit(admission, None)
    bearable = []
    for wait_s in (0.6, 0.7, 0.8, 0.75, 0.6):
        admission._load.queue_wait_s = wait_s
        for _ in range(20):
            assert refusal(admission) == (503, "queue_wait")
            admission._clock.now_s += 0.1
        bearable.append(round(admission._max_served))
    assert bearable == [93, 86, 80, 80, 80]


def test_when_calls_wait_no_longer_there_may_slowly_be_more():
    admission = make(queue_wait_s=1.0)
    for _ in range(100):
        admit(admission, None)
    admission._load.queue_wait_s = 0.6
    assert fill(admission) == 0
    admission._load.queue_wait_s = 0.1
    n_let_in = 0
    for _ in range(100):
        admission._clock.now_s += 0.1
        n_let_in += fill(admission)
    assert 10 <= n_let_in <= 30  # 5 % in 2 s
    n_small = 0
    for _ in range(20):
        admission._clock.now_s += 0.1
        n_small += isinstance(admission.admit(UNKNOWN_CLIENT), Permit)
    assert n_small < 10


def test_with_few_streams_there_is_one_more_at_a_time():
    admission = make(queue_wait_s=1.0)
    admit(admission, None)
    admission._load.queue_wait_s = 0.6
    assert fill(admission) == 0
    admission._load.queue_wait_s = 0.0
    for _ in range(5):
        admission._clock.now_s += 2.1
        assert fill(admission) == 1


def test_what_was_learned_does_not_hinder_who_comes_when_all_are_gone():
    admission = make(queue_wait_s=1.0)
    permits = [admit(admission, None) for _ in range(10)]
    admission._load.queue_wait_s = 5.0
    assert fill(admission) == 0
    admission._load.queue_wait_s = 0.0
    for permit in permits:
        permit.release()
    assert fill(admission, 9) == 9


def test_one_stream_is_one_stream():
    admission = make(streams=1)
    admit(admission)
    assert admission.admit(ClientInfo("a")).text == "server full: 1 stream is open"
    admission = make(streams_per_address=1, streams=8, pending_streams=1)
    admit(admission, "a", is_pending=True)
    assert admission.admit(ClientInfo("a")).text == "1 stream is open from this address"
    assert admission.admit(ClientInfo("b"), is_pending=True).text == "1 stream has not brought a token yet"
