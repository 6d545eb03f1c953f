"""Load: ask a server at a fixed rate or with a fixed number of clients, from a process of its own, and record each answer.

An open loop fixes its send times in advance and measures latency from them, whatever the server does meanwhile: a stall
of 300 ms is then seen by all who would have asked during it, not by the one client that waited (Gil Tene's coordinated
omission). A closed loop asks for the most that a server can do.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from ingest.errors import PlatformError, SettingsError

Question = tuple[str, bytes]
"""A path and the JSON to post to it."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int16]

LOST = 0  # the status of a request that nobody answered
COLLECT_TIMEOUT_S = 30.0  # for packing and piping the records, once the last request has had its time


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks whom: the server's address, headers such as a key, and how long and how often to try."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 2.0
    """From the intended moment, a retry included; what is not answered by then is lost."""

    retries: int = 1
    """On a new connection, when one was refused or reset before the answer: to ask for a score twice harms nobody."""

    keep_bodies: bool = False


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Ask `rate` times a second for `seconds`, however the server fares; a drill stops it when it has seen enough."""

    rate: float
    seconds: float
    spacing: Literal["poisson", "constant"] = "poisson"
    seed: int = 0
    connections: int = 512
    """At most; beyond them a request waits for one, and is late."""


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """This many clients, each of which asks again when it has its answer, for a number of requests or of seconds."""

    connections: int
    requests: int | None = None
    seconds: float | None = None


class Answer(NamedTuple):
    """What one client saw: when it meant to ask (seconds after the start), the status (0: lost), how long it waited."""

    intended_s: float
    latency_ms: float
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Records:
    """One entry per request, in the order of the intended moments."""

    intended_s: FloatArray
    latency_ms: FloatArray
    status: IntArray
    retries: IntArray


@dataclass(frozen=True)
class Result:
    """What became of every request, and what the generator itself did: `max_send_lag_ms` is how late it took one up.

    The server is the bound as long as that lag and `cpu_seconds / seconds` are small. Requests that were `late` in spite
    of it waited for a connection. Latencies are of requests that got an answer, a 503 included; the lost are counted.
    """

    records: Records
    seconds: float
    late: int
    max_send_lag_ms: float
    cpu_seconds: float
    peak_connections: int
    bodies: tuple[bytes, ...] | None = None

    @property
    def sent(self) -> int:
        return len(self.records.status)

    @property
    def lost(self) -> int:
        return int((self.records.status == LOST).sum())

    @property
    def retried(self) -> int:
        return int((self.records.retries > 0).sum())

    @property
    def by_class(self) -> dict[str, int]:
        """Answers by status class, such as `{"2xx": 990, "5xx": 10}`."""
        answered = self.records.status[self.records.status != LOST]
        return {f"{n}xx": int(count) for n, count in zip(*np.unique(answered // 100, return_counts=True), strict=True)}

    @property
    def latency(self) -> dict[str, float]:
        return summarise(self.records.latency_ms[self.records.status != LOST])

    @property
    def figures(self) -> dict[str, Any]:
        """All figures in one flat mapping, for a table or for JSON."""
        return {
            **self.latency,
            "rate": (self.sent - self.lost) / self.seconds,
            "sent": self.sent,
            "answered": self.by_class,
            "retried": self.retried,
            "lost": self.lost,
            "late": self.late,
            "max_send_lag_ms": self.max_send_lag_ms,
            "cpu_seconds": self.cpu_seconds,
            "seconds": self.seconds,
            "peak_connections": self.peak_connections,
        }

    def answers(self) -> list[Answer]:
        """Every request as one tuple; the bodies are empty unless the client keeps them."""
        rows = self.records
        bodies = self.bodies or (b"",) * self.sent
        columns = (rows.intended_s.tolist(), rows.latency_ms.tolist(), rows.status.tolist(), bodies)
        return [Answer(*row) for row in zip(*columns, strict=True)]


class Load:
    """A generator at work in its own process."""

    def __init__(self, process: subprocess.Popen[bytes], began: float, timeout_s: float) -> None:
        self._process = process
        self._began = began
        self._timeout_s = timeout_s
        self._result: Result | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def elapsed_s(self) -> float:
        """Seconds since the start, on the clock of the records: what a drill notes beside what it does."""
        return time.monotonic() - self._began

    def stop(self) -> Result:
        """Send nothing more, and return when all that was sent is answered or lost. Raises PlatformError if it never does."""
        if self._result is None:
            try:
                packed, _ = self._process.communicate(b"stop", timeout=self._timeout_s + COLLECT_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                self._process.kill()
                raise PlatformError(
                    f"The load generator (process {self.pid}) did not stop within {error.timeout:.0f} s and was killed. "
                    "Its records are lost: repeat the run on a machine that is less busy."
                ) from error
            self._result = self._unpack(packed)
        return self._result

    def result(self) -> Result:
        """Wait until the loop has come to its own end."""
        if self._result is None:
            assert self._process.stdout is not None
            self._result = self._unpack(self._process.stdout.read())
        return self._result

    def _unpack(self, packed: bytes) -> Result:
        if self._process.wait(self._timeout_s) != 0:
            raise _ended(self._process)
        return unpack(packed)


@contextmanager
def running_load(client: Client, loop: OpenLoop | ClosedLoop, questions: Iterable[Question]) -> Iterator[Load]:
    """Start a generator in a process of its own, so that it shares no lock with whoever watches; on the way out it is gone.

    `questions` are sent in their order, round and round, so they must come to an end. Raises SettingsError for a plan
    that makes no sense, PlatformError when the generator does not start.
    """
    require_sense(client, loop)
    questions = require_some(questions)
    order = {
        "client": asdict(client),
        type(loop).__name__: asdict(loop),
        "questions": [(path, body.decode("latin-1")) for path, body in questions],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.load_generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # a buffer would swallow the beginning of the records together with the first line
        cwd=Path(__file__).parent.parent,
        start_new_session=True,  # Ctrl-C is for the parent, which ends the child
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            write_all(process.stdin.fileno(), json.dumps(order).encode() + b"\n")
        except BrokenPipeError as error:
            raise _ended(process) from error
        began = process.stdout.readline()
        if not began:
            raise _ended(process)
        yield Load(process, float(began), client.timeout_s)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def summarise(latency_ms: FloatArray) -> dict[str, float]:
    """Median, tails and maximum: values that were observed, the higher one where a quantile falls between two."""
    names = ("p50_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms")
    if not len(latency_ms):
        return dict.fromkeys(names, float("nan"))
    return dict(zip(names, np.percentile(latency_ms, (50, 95, 99, 99.9, 100), method="higher").tolist(), strict=True))


def pack(result: Result) -> bytes:
    """Write a result as one NPZ: arrays as they are, the rest as JSON."""
    bodies = result.bodies or ()
    rest = {name: value for name, value in vars(result).items() if name not in {"records", "bodies"}}
    packed = io.BytesIO()
    np.savez(
        packed,
        allow_pickle=False,
        **asdict(result.records),
        rest=np.array(json.dumps(rest | {"keep_bodies": result.bodies is not None})),
        lengths=np.array([len(body) for body in bodies], dtype=np.int64),
        bodies=np.frombuffer(b"".join(bodies), dtype=np.uint8),
    )
    return packed.getvalue()


def unpack(packed: bytes) -> Result:
    """Read what `pack` wrote."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        rest = json.loads(str(arrays["rest"]))
        records = Records(**{name: arrays[name] for name in Records.__slots__})
        ends = np.cumsum(arrays["lengths"]).tolist()
        text = arrays["bodies"].tobytes()
    bodies = tuple(text[start:end] for start, end in zip([0, *ends], ends, strict=False))
    return Result(records=records, bodies=bodies if rest.pop("keep_bodies") else None, **rest)


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SettingsError(f"{url!r} is no address of a server; write it as http://host:port, without TLS.")
    return parts.hostname, parts.port or 80


def require_sense(client: Client, loop: OpenLoop | ClosedLoop) -> None:
    address_of(client.url)
    if loop.connections < 1 or (isinstance(loop, OpenLoop) and min(loop.rate, loop.seconds) <= 0):
        raise SettingsError(f"{loop} sends nothing; rate, seconds and connections must be above 0.")
    if isinstance(loop, ClosedLoop) and loop.requests is None and loop.seconds is None:
        raise SettingsError("A closed loop without requests and without seconds never ends; give it one of them.")


def require_some(questions: Iterable[Question]) -> Iterable[Question]:
    rest = iter(questions)
    for first in rest:
        return chain([first], rest)
    raise SettingsError("There is nothing to ask; give at least one (path, body).")


def _ended(process: subprocess.Popen[bytes]) -> PlatformError:
    return PlatformError(
        f"The load generator ended with code {process.wait()}; its last words are above. "
        "`python -m serving.load_generator < /dev/null` shows whether it can be imported."
    )


def write_all(descriptor: int, data: bytes) -> None:
    """A write to an unbuffered pipe may take only a part."""
    with memoryview(data) as view:
        written = 0
        while written < len(data):
            written += os.write(descriptor, view[written:])
