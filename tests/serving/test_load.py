"""The load generator tells what clients live through: stalls, refusals and silence, and never fails because of them."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from ingest.errors import PlatformError, SettingsError
from serving.load import Client, ClosedLoop, OpenLoop, running_load, summarise
from serving.load_generator import send_load, send_times

QUESTIONS = [("/recommend", b'{"user_id": "1"}'), ("/recommend", b'{"user_id": "22"}')]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"

Answers = Callable[[int, bytes], bytes | None]
"""From the number of a request and its text to the answer; None resets the connection, no bytes are silence."""


class _Server(asyncio.Protocol):
    def __init__(self, answers: Answers, seen: list[bytes]) -> None:
        self._answers = answers
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen.append(data)
        answer = self._answers(len(self._seen), data)
        if answer is None:
            self._transport.abort()
        else:
            self._transport.write(answer)


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """A server in a thread of its own: it may sleep, as a server that stalls does."""
    loop = asyncio.new_event_loop()
    seen: list[bytes] = []
    server = loop.run_until_complete(loop.create_server(lambda: _Server(answers, seen), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.01))  # for a connection that is being accepted
        loop.close()


@pytest.fixture
def dead() -> str:
    """The address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def stalls_once(number: int, _: bytes) -> bytes:
    time.sleep(0.3 if number == 50 else 0)
    return OK


def test_a_stall_is_felt_by_all_who_would_have_asked_during_it() -> None:
    """In 300 ms of silence 60 of 200 requests are due: the rate is kept, and they all report how long they waited."""
    with (
        serving(stalls_once) as url,
        running_load(Client(url), OpenLoop(200, 1.0, spacing="constant"), QUESTIONS) as load,
    ):
        result = load.result()
    assert result.sent == 200
    assert result.by_class == {"2xx": 200}
    assert result.latency["p99_ms"] > 250
    assert int((result.records.latency_ms > 50).sum()) >= 40  # 50 on a quiet machine, more on a busy one
    assert result.peak_connections > 30


def test_without_connections_to_spare_requests_are_late() -> None:
    """With one connection the requests of a stall wait for it: late, and not by the generator's fault."""
    with serving(stalls_once) as url:
        result = asyncio.run(send_load(Client(url), OpenLoop(200, 0.6, "constant", connections=1), QUESTIONS))
    assert result.by_class == {"2xx": 120}
    assert result.peak_connections == 1
    assert result.late >= 40
    assert int((result.records.latency_ms > 50).sum()) >= 40
    assert result.max_send_lag_ms < result.latency["max_ms"]


def test_a_closed_loop_asks_as_often_as_it_was_told() -> None:
    """Each question is sent in its turn, with the headers; the answers are kept with their bodies."""
    heard: list[bytes] = []

    def note(number: int, text: bytes) -> bytes:
        heard.append(text)
        return CHUNKED if number % 2 else OK

    with serving(note) as url:
        client = Client(url, headers={"Authorization": "Bearer key"}, keep_bodies=True)
        with running_load(client, ClosedLoop(4, requests=101), QUESTIONS) as load:
            result = load.result()
    assert (result.sent, result.by_class, result.peak_connections) == (101, {"2xx": 101}, 4)
    assert sorted(answer.body for answer in result.answers()) == [b"[1,2]"] * 51 + [b"{}"] * 50
    assert heard[0].endswith(b"Authorization: Bearer key\r\nContent-Length: 16\r\n\r\n" + QUESTIONS[0][1])
    assert sum(text.endswith(QUESTIONS[1][1]) for text in heard) == 50


def test_a_reset_is_tried_again_on_a_new_connection() -> None:
    """Every tenth request is reset: each is counted as retried, none is lost."""
    with serving(lambda number, _: None if number % 10 == 0 else OK) as url:
        result = asyncio.run(send_load(Client(url), ClosedLoop(1, requests=90), QUESTIONS))
    assert (result.sent, result.by_class, result.lost) == (90, {"2xx": 90}, 0)
    assert result.retried == 9


def test_who_may_not_try_again_loses_what_is_reset() -> None:
    """Without retries each reset is a lost request."""
    with serving(lambda number, _: None if number % 10 == 0 else OK) as url:
        result = asyncio.run(send_load(Client(url, retries=0), ClosedLoop(2, requests=50), QUESTIONS))
    assert (result.lost, result.retried, result.by_class) == (5, 0, {"2xx": 45})


def test_an_answer_with_an_error_is_an_answer() -> None:
    """503 is counted by its class, and neither retried nor lost."""
    with serving(lambda number, _: BUSY if number % 4 == 0 else OK) as url:
        result = asyncio.run(send_load(Client(url), ClosedLoop(2, requests=40), QUESTIONS))
    assert result.by_class == {"2xx": 30, "5xx": 10}
    assert (result.lost, result.retried) == (0, 0)


def test_a_dead_server_loses_everything_and_breaks_nothing(dead: str) -> None:
    """Each request is refused twice and counted as lost; there are no latencies to report."""
    with running_load(Client(dead), OpenLoop(100, 0.3), QUESTIONS) as load:
        result = load.result()
    assert (result.sent, result.lost, result.retried, result.by_class) == (30, 30, 30, {})
    assert np.isnan(result.latency["p99_ms"])


def test_clients_of_a_dead_server_do_not_storm_it(dead: str) -> None:
    """In a closed loop a client pauses after a lost request."""
    result = asyncio.run(send_load(Client(dead), ClosedLoop(2, seconds=0.3), QUESTIONS))
    assert 2 <= result.lost <= 14


def test_silence_is_lost_after_the_timeout() -> None:
    """A request that gets no answer in time is lost, and its connection is not used again."""
    with serving(lambda number, _: b"" if number == 3 else OK) as url:
        result = asyncio.run(send_load(Client(url, timeout_s=0.2), ClosedLoop(1, requests=5), QUESTIONS))
    assert (result.lost, result.by_class, result.peak_connections) == (1, {"2xx": 4}, 1)
    assert 200 <= result.answers()[2].latency_ms < 1000


def test_what_is_no_http_is_no_answer() -> None:
    """A stranger's words are dropped with the connection, tried once more, and lost."""
    with serving(lambda number, _: b"SSH-2.0-OpenSSH_9.6\r\n") as url:
        result = asyncio.run(send_load(Client(url), ClosedLoop(1, requests=1), QUESTIONS))
    assert (result.lost, result.retried) == (1, 1)


def test_a_drill_stops_the_load_when_it_has_seen_enough() -> None:
    """Stopped early, the load returns what was sent till then; its process is gone."""
    with serving(lambda *_: OK) as url:
        with running_load(Client(url), OpenLoop(100, 600, "constant"), QUESTIONS) as load:
            time.sleep(0.4)
            stopped_s = load.elapsed_s()
            result = load.stop()
        assert load.stop() is result
    assert result.lost == 0
    assert 20 <= result.sent <= stopped_s * 100 + 10
    assert result.records.intended_s.max() <= stopped_s + 0.1
    with pytest.raises(ProcessLookupError):
        os.kill(load.pid, 0)


def test_an_interrupt_leaves_nothing_behind() -> None:
    """Ctrl-C in the drill ends the generator too."""
    with (
        serving(lambda *_: OK) as url,
        pytest.raises(KeyboardInterrupt),
        running_load(Client(url), ClosedLoop(1, seconds=600), QUESTIONS) as load,
    ):
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(load.pid, 0)


def test_a_generator_that_died_is_an_error() -> None:
    """Who waits for a generator that somebody killed is told, instead of getting an empty result."""
    with serving(lambda *_: OK) as url, running_load(Client(url), ClosedLoop(1, seconds=600), QUESTIONS) as load:
        os.kill(load.pid, 9)
        with pytest.raises(PlatformError, match="ended with code -9"):
            load.stop()


@pytest.mark.parametrize(
    ("client", "loop", "questions", "message"),
    [
        (Client("https://a.b"), ClosedLoop(1, 1), QUESTIONS, "write it as http://"),
        (Client("http://a.b"), ClosedLoop(1), QUESTIONS, "never ends"),
        (Client("http://a.b"), OpenLoop(0, 1), QUESTIONS, "must be above 0"),
        (Client("http://a.b"), OpenLoop(1, 1), [], "at least one"),
    ],
)
def test_a_plan_without_sense_is_refused(client: Client, loop: OpenLoop, questions: list, message: str) -> None:
    """Before a process is started, with what to do instead."""
    with pytest.raises(SettingsError, match=message), running_load(client, loop, questions):
        pytest.fail("started")


def test_send_times_are_fixed_in_advance() -> None:
    """The same seed gives the same moments; Poisson gaps vary as much as they are long, constant ones do not."""
    assert send_times(OpenLoop(4, 1, "constant")).tolist() == [0, 0.25, 0.5, 0.75]
    moments = send_times(OpenLoop(100, 100, seed=3))
    np.testing.assert_array_equal(moments, send_times(OpenLoop(100, 100, seed=3)))
    gaps = np.diff(moments)
    assert len(moments) == 10_000
    assert gaps.min() >= 0
    assert gaps.std() == pytest.approx(0.01, rel=0.05)


def test_quantiles_are_observed_values() -> None:
    """The one that is not smaller: of 1 to 1000 ms the 99.9th percentile is 1000."""
    figures = summarise(np.arange(1.0, 1001.0))
    assert figures == {"p50_ms": 501, "p95_ms": 951, "p99_ms": 991, "p99.9_ms": 1000, "max_ms": 1000}
