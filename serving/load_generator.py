"""The process that sends a load: connections that are kept open, one request on each, and a record of what became of it.

Answers must say where they end, by Content-Length or in chunks, as connections that are kept open demand.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle
from typing import Any, cast

import httptools
import numpy as np
import uvloop

from serving.load import (
    LOST,
    Client,
    ClosedLoop,
    FloatArray,
    OpenLoop,
    Question,
    Records,
    Result,
    address_of,
    pack,
    require_sense,
    require_some,
    write_all,
)

LATE_S = 0.005  # above what one busy neighbour costs a sleeping process, below what matters to a limit of 50 ms
SWEEP_S = (
    0.02  # how often requests that waited too long are looked for; a timer for each would cost more than sending it
)
LOST_PAUSE_S = (
    0.05  # of a client in a closed loop: a dead port refuses thousands a second, and no client asks like that
)


async def send_load(
    client: Client,
    loop: OpenLoop | ClosedLoop,
    questions: Iterable[Question],
    *,
    began: Callable[[float], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> Result:
    """Send the load from this process and event loop; here questions may also be endless.

    `began` is told the start on the monotonic clock; `stop` ends the sending early.
    """
    require_sense(client, loop)
    run = _Run(client, questions, loop.connections)
    cpu_before = time.process_time()
    began(run.began)
    stopper = asyncio.create_task(_stop_when(stop, run)) if stop else None
    try:
        if isinstance(loop, OpenLoop):
            await _follow(loop, run)
        else:
            await _keep_asking(loop, run)
    finally:
        run.hang_up()
        if stopper:
            stopper.cancel()
    return run.result(time.process_time() - cpu_before)


def send_times(loop: OpenLoop) -> FloatArray:
    """Seconds after the start at which to send, `rate * seconds` of them.

    Given their number, the moments of a Poisson process are uniform: sorting as many draws yields it, and the count
    does not vary with the seed.
    """
    count = round(loop.rate * loop.seconds)
    if loop.spacing == "constant":
        return np.arange(count) / loop.rate
    return np.sort(np.random.default_rng(loop.seed).uniform(0, loop.seconds, count))


class _Request:
    """A request on its way: what to send, since when somebody waits for it, and what it is tried on."""

    __slots__ = ("attempt", "done", "intended", "retries", "wire")

    def __init__(self, wire: bytes, intended: float) -> None:
        self.wire = wire
        self.intended = intended
        self.retries = 0
        self.done = False
        self.attempt: _Connection | asyncio.Task[None] | None = None


class _Connection(asyncio.Protocol):
    """A connection that is kept open, with at most one request on it."""

    __slots__ = ("_body", "_complete", "_parser", "_request", "_run", "_transport")

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._request: _Request | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def send(self, request: _Request) -> None:
        self._request = request
        request.attempt = self
        self._transport.write(request.wire)

    def give_up(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()
            return
        if not self._complete:
            return
        request, body = self._request, self._body
        self._request, self._body, self._complete = None, b"", False
        if request is None or not self._parser.should_keep_alive():
            self._transport.abort()
        if request is not None:
            self._run.answered(request, self._parser.get_status_code(), body)
            if not self._transport.is_closing():
                self._run.free(self)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._complete = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._run.dropped(self, self._request)


class _Run:
    """One run: its connections, the requests on their way, and the records of those that ended."""

    def __init__(self, client: Client, questions: Iterable[Question], connections: int) -> None:
        self._client = client
        self._host, self._port = address_of(client.url)
        # A request goes round and round as it stands on the wire.
        self._wires = cycle(_wires(client, require_some(questions)))
        self._limit = connections
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[_Connection] = []
        self._waiting: deque[_Request] = deque()
        self._on_their_way: deque[_Request] = deque()
        self._unanswered = 0
        self._intended, self._latency = array("d"), array("d")
        self._status, self._retries = array("h"), array("h")
        self._bodies: list[bytes] = []
        self._late = 0
        self._max_lag = 0.0
        self._peak = 0
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self._all_done = asyncio.Event()
        self.stopped = threading.Event()
        self.began = time.monotonic()
        self.when_done: Callable[[int], object] = lambda _: None

    def ask(self, intended: float) -> None:
        """Send the next question now, on behalf of somebody who wants the answer since `intended`."""
        self._max_lag = max(self._max_lag, time.monotonic() - intended)
        request = _Request(next(self._wires), intended)
        self._on_their_way.append(request)
        self._unanswered += 1
        if self._idle:
            self._send(self._idle.pop(), request)
        elif len(self._connections) + len(self._tasks) < self._limit:
            self._connect(request)
        else:
            self._waiting.append(request)

    def stop(self) -> None:
        """Ask nothing more; the run is over when what is on its way has come to an end."""
        self.stopped.set()
        if not self._unanswered:
            self._all_done.set()

    async def all_done(self) -> None:
        await self._all_done.wait()

    def hang_up(self) -> None:
        self.stopped.set()
        self._sweeper.cancel()
        self._over = True
        for task in self._tasks:
            task.cancel()
        for connection in self._connections:
            connection.give_up()

    def result(self, cpu_seconds: float) -> Result:
        intended, latency = np.array(self._intended), np.array(self._latency)
        order = np.argsort(intended, kind="stable")
        records = Records(
            intended_s=intended[order] - self.began,
            latency_ms=latency[order] * 1000,
            status=np.array(self._status, dtype=np.int16)[order],
            retries=np.array(self._retries, dtype=np.int16)[order],
        )
        return Result(
            records=records,
            seconds=time.monotonic() - self.began,
            late=self._late,
            max_send_lag_ms=self._max_lag * 1000,
            cpu_seconds=cpu_seconds,
            peak_connections=self._peak,
            bodies=tuple(self._bodies[i] for i in order.tolist()) if self._client.keep_bodies else None,
        )

    def answered(self, request: _Request, status: int, body: bytes) -> None:
        if self._client.keep_bodies:
            self._bodies.append(body)
        self._record(request, status)

    def free(self, connection: _Connection) -> None:
        """Give a connection to whoever waits longest, or keep it."""
        request = self._next_waiting()
        if request is not None:
            self._send(connection, request)
        else:
            self._idle.append(connection)

    def dropped(self, connection: _Connection, request: _Request | None) -> None:
        """A connection is gone: try its request on a new one, or let somebody else have its place."""
        self._connections.discard(connection)
        if request is None and connection in self._idle:
            self._idle.remove(connection)
        self._replace(request)

    def _send(self, connection: _Connection, request: _Request) -> None:
        if not request.retries and time.monotonic() - request.intended > LATE_S:
            self._late += 1
        connection.send(request)

    def _connect(self, request: _Request) -> None:
        task = self._loop.create_task(self._open(request))
        request.attempt = task
        self._tasks.add(task)
        self._peak = max(self._peak, len(self._connections) + len(self._tasks))

    async def _open(self, request: _Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except (OSError, asyncio.CancelledError):
            self._tasks.discard(task)
            self._replace(request)
            return
        self._tasks.discard(task)
        self._connections.add(connection)
        if request.done:
            self.free(connection)
        else:
            self._send(connection, request)

    def _replace(self, request: _Request | None) -> None:
        if self._over:
            return
        if request is not None and not request.done:
            if request.retries < self._client.retries:
                request.retries += 1
                self._connect(request)
                return
            self._lose(request)
        waiting = self._next_waiting()
        if waiting is not None:
            self._connect(waiting)

    def _next_waiting(self) -> _Request | None:
        while self._waiting:
            request = self._waiting.popleft()
            if not request.done:
                return request
        return None

    def _sweep(self) -> None:
        """Lose the requests that waited too long: the first ones, since all have the same patience."""
        horizon = time.monotonic() - self._client.timeout_s
        while self._on_their_way and (self._on_their_way[0].done or self._on_their_way[0].intended < horizon):
            request = self._on_their_way.popleft()
            if not request.done:
                self._lose(request)
                if isinstance(request.attempt, _Connection):
                    request.attempt.give_up()
                elif request.attempt is not None:
                    request.attempt.cancel()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _lose(self, request: _Request) -> None:
        if self._client.keep_bodies:
            self._bodies.append(b"")
        self._record(request, LOST)

    def _record(self, request: _Request, status: int) -> None:
        self._intended.append(request.intended)
        self._latency.append(time.monotonic() - request.intended)
        self._status.append(status)
        self._retries.append(request.retries)
        request.done = True
        self._unanswered -= 1
        self.when_done(status)
        if self.stopped.is_set() and not self._unanswered:
            self._all_done.set()


async def _follow(loop: OpenLoop, run: _Run) -> None:
    due = deque((run.began + send_times(loop)).tolist())

    def send_due() -> None:
        while due and not run.stopped.is_set() and due[0] <= time.monotonic():
            run.ask(due.popleft())
        if not due:
            run.stop()

    wake = asyncio.get_running_loop().call_soon_threadsafe
    pacer = threading.Thread(target=_pace, args=(tuple(due), run.stopped, lambda: wake(send_due)), daemon=True)
    pacer.start()
    try:
        await run.all_done()
    finally:
        run.stopped.set()
        pacer.join()


def _pace(due: Iterable[float], stopped: threading.Event, wake: Callable[[], object]) -> None:
    """Call `wake` at each moment, from a thread: timers of asyncio and uvloop come in whole milliseconds.

    At 500 requests/s and an answer at once, the median latency was 0.57 ms with such timers and 0.27 ms with the thread.
    """
    for moment in due:
        if stopped.wait(max(moment - time.monotonic(), 0)):
            return
        wake()
    wake()


async def _keep_asking(loop: ClosedLoop, run: _Run) -> None:
    left = loop.requests if loop.requests is not None else float("inf")
    deadline = run.began + (loop.seconds if loop.seconds is not None else float("inf"))
    events = asyncio.get_running_loop()

    def ask_next() -> None:
        nonlocal left
        if run.stopped.is_set():
            return
        if left <= 0 or time.monotonic() >= deadline:
            run.stop()
            return
        left -= 1
        run.ask(time.monotonic())

    # After the callback in progress, so that the connection that brought the answer is free again.
    run.when_done = lambda status: (
        events.call_later(LOST_PAUSE_S, ask_next) if status == LOST else events.call_soon(ask_next)
    )
    for _ in range(loop.connections):
        ask_next()
    await run.all_done()


async def _stop_when(stop: asyncio.Event, run: _Run) -> None:
    await stop.wait()
    run.stop()


def _wires(client: Client, questions: Iterable[Question]) -> Iterator[bytes]:
    host, port = address_of(client.url)
    named = {"Host": f"{host}:{port}", "Content-Type": "application/json", **client.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    for path, body in questions:
        yield f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


async def _obey(order: Mapping[str, Any]) -> Result:
    """Run an order; a word from the parent, or its end, stops it."""
    loop = OpenLoop(**order["OpenLoop"]) if "OpenLoop" in order else ClosedLoop(**order["ClosedLoop"])
    questions = [(path, body.encode("latin-1")) for path, body in order["questions"]]
    stop = asyncio.Event()
    events = asyncio.get_running_loop()

    def hear() -> None:
        events.remove_reader(sys.stdin.fileno())  # the end of a pipe is there to be read for ever
        stop.set()

    itself = asyncio.current_task()

    def give_up(events: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        events.default_exception_handler(context)
        if itself:
            itself.cancel()  # a callback that failed may have been the one that others wait for

    def say_began(moment: float) -> None:
        print(moment, flush=True)

    events.add_reader(sys.stdin.fileno(), hear)
    events.set_exception_handler(give_up)
    return await send_load(Client(**order["client"]), loop, questions, began=say_began, stop=stop)


def main() -> None:
    """Be the child of `running_load`: an order on the first line, the start on the first line out, then the records."""
    order = json.loads(sys.stdin.buffer.readline())
    gc.freeze()  # what was imported is not looked through again while it measures
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_obey(order))
    with suppress(BrokenPipeError):  # nobody is left who wants to know
        write_all(sys.stdout.fileno(), pack(result))


if __name__ == "__main__":
    main()
