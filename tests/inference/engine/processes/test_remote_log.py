"""The log of a worker process."""

from __future__ import annotations

import logging

import pytest

from voxgate.inference.engine.processes import remote_log
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import (
    Record,
    Warm,
)
from voxgate.inference.engine.processes.remote_log import RemoteLog, write_record


def test_log_records_wait_while_the_server_does_not_listen(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    handler = RemoteLog(theirs)
    logger = logging.Logger("some.where", logging.INFO)
    logger.addHandler(handler)
    logger.warning("first %s", "of all")
    handler.resume()
    logger.info("second")
    logger.debug("not this")
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("third")
    handler.defer()
    logger.info("fourth")
    theirs.send(Warm())
    handler.resume()
    records = [ours.receive() for _ in range(5)]
    assert records[0] == Record("some.where", logging.WARNING, "first of all", "")
    assert records[1] == Record("some.where", logging.INFO, "second", "")
    assert isinstance(records[2], Record)
    assert "KeyError: 'lost'" in records[2].stack
    assert records[3] == Warm()
    assert records[4] == Record("some.where", logging.INFO, "fourth", "")


def test_log_records_that_wait_are_bounded_and_a_lost_server_is_no_error(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    handler = RemoteLog(theirs)
    logger = logging.Logger("some.where")
    logger.addHandler(handler)
    for n in range(remote_log._MAX_DEFERRED + 5):
        logger.warning("%d", n)
    assert len(handler._deferred) == remote_log._MAX_DEFERRED
    assert handler._deferred[0].text == "5"
    ours.close()
    handler.resume()
    with pytest.raises(ChannelClosed):
        theirs.send(Warm())


def test_a_record_is_written_by_the_logger_of_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "some.where")
    write_record(Record("some.where", logging.DEBUG, "below the level", ""), 123)
    write_record(Record("some.where", logging.WARNING, "100 %", "the stack"), 123)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("some.where", "WARNING", "100 %")
    assert (record.exc_text, record.process, record.processName) == ("the stack", 123, "voxgate-worker")
