"""Play customers against a running service for as long as somebody wants: they ask, ask again when it is away, and buy by habit.

`serving.load` measures what a service can do, and counts a question as lost that is not answered at once. These customers
have the patience of people. Each asks again while the service restarts, others come meanwhile at the same rate (an open
loop), and whoever gave up is `lost`. What customers buy is appended to `serving/outcomes.jsonl`, as a shop's tracker does.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from feature_repo.feast_store import FeastStore
from ingest.card_world import CardSettings, CardWorld
from ingest.errors import FeatureError, PlatformError, SettingsError
from serving.guard import UNRELEASED
from serving.release import ServingFolder
from training.fraud.card_days import CardDays
from training.predictions import read_predictions
from training.scored_payments import read_scored
from training.workspace import Workspace

TIMEOUT_S = 2.0  # of one try
SHORTEST_TRY_S = 0.1  # aiohttp takes 0 for no limit
PAUSES_S = (0.25, 0.5, 0.75, 1.0)  # before each next try; the last one again and again
CONNECTIONS = 256  # below the 1,024 files that a process may usually open
GRACE_S = 0.5  # for what is on its way when the traffic is stopped
BUY_EVERY_S = 0.5
UNTOLD_AT_MOST = 10_000  # answers that wait for the feature store to say what their customers buy
LOOK_S = 1.0  # how often it is looked for a first week
NEW_WEEK_S = 60.0  # how often for a newer one
STORE_PATIENCE_S = 1.0
STRANGERS = 0.05
LATEST_NIGHT = timedelta(days=2)  # an issuer whose last night is older is one of a replay, and not of today
LOGGED_WITHIN_S = 5.0  # workers write twice a second, and on a busy machine a little later

Outcome = Literal["answered", "again", "refused", "unreleased", "locked", "no service"]


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """Who asks whom, how often and how patiently. Raises SettingsError for what cannot be played."""

    url: str
    rate: float = 5.0
    """Recommendation requests a second, at random moments; 0 for none."""

    payments: float = 2.0
    """Payments a second to be scored, likewise."""

    patience_s: float = 60.0
    """How long a customer asks again before he gives up: longer than a service takes to restart on a busy machine."""

    key: str = field(default="", repr=False)
    seed: int = 0
    waiting_at_most: int = 2_000
    """Of each kind, who waits for an answer at the same time; whoever comes then is lost without having asked."""

    def __post_init__(self) -> None:
        _require_address(self.url)
        if not (self.key.isascii() and (self.key.isprintable() or not self.key)):
            raise SettingsError("The key has characters that no header carries; give one of RECOMMENDER_API_KEYS.")
        if not (min(self.rate, self.payments) >= 0 and 0 < self.rate + self.payments < math.inf):
            raise SettingsError(
                f"rate {self.rate} and payments {self.payments} are no traffic; neither may be below 0, nor both be 0."
            )
        if not self.patience_s > 0 or self.waiting_at_most < 1:
            raise SettingsError(
                f"patience_s {self.patience_s} and waiting_at_most {self.waiting_at_most} must be above 0."
            )


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What became of the questions of one kind.

    `asked` is the sum of `answered`, `lost` (patience was over, or too many waited), `refused` (the request was at fault),
    `unreleased` (no fraud model is live) and `unfinished` (still waiting, or waiting when the traffic was stopped).
    """

    asked: int
    answered: int
    lost: int
    refused: int
    unreleased: int
    unfinished: int
    asked_again: int
    """How many of them were asked more than once."""

    longest_wait_s: float
    """Of those that were answered, from the moment at which the customer first asked."""

    by_version: Mapping[str, int]
    """Answers by model version; `none` where no model answered."""

    p50_ms: float | None
    p99_ms: float | None
    """Of answers at the first try, at most two per cent too high."""


@dataclass(frozen=True, kw_only=True)
class Summary(Figures):
    """The figures of recommendations so far, and beside them those of payments."""

    seconds: float
    payments: Figures
    bought: int
    """Answers after which the customer bought something that he was shown."""

    untold: int
    """Answers of which nobody knows, because the feature store or the disk did not answer."""

    waiting_for: str
    """Why nobody asks yet; empty as soon as somebody does."""

    unlogged: tuple[str, ...] | None = None
    """Request ids of answers, of both kinds, that are not in the logs; None where nobody looked."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def play(
    ws: Workspace,
    asked: TrafficSettings,
    *,
    until: threading.Event,
    say: Callable[[Summary], None],
    every_s: float = 10.0,
    keep_ids: bool = False,
) -> Summary:
    """Play customers until the event is set, and say every so often how they fared; memory does not grow meanwhile.

    With `keep_ids` it does: the ids of all answers are kept, and looked for in the logs at the end. Who still waits then is
    `unfinished`. Raises SettingsError for a key that the service does not take, and PlatformError when what answers first is
    no such service. A service that does not answer is one that is restarting.
    """
    began = datetime.now(UTC)
    playing = _Play(ws, asked, say, every_s, keep_ids)
    asyncio.run(playing.run(until))
    missing = unlogged(ws, playing.request_ids, began - timedelta(minutes=1)) if keep_ids else None
    return playing.summary(missing)


def unlogged(ws: Workspace, request_ids: Collection[str], since: datetime) -> list[str]:
    """The answers, of those that were given from `since` on, that neither log holds, after giving the workers a few seconds to write.

    Raises ArtefactError when a log cannot be read.
    """
    folder, deadline = ServingFolder(ws.home), time.monotonic() + LOGGED_WITHIN_S
    while True:
        logs = read_predictions(folder.predictions, since), read_scored(folder.payments, since)
        logged = {request_id for log in logs for request_id in log["request_id"].to_pylist()}
        missing = [request_id for request_id in request_ids if request_id not in logged]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.5)


class Shown(NamedTuple):
    """An answer as its customer sees it."""

    request_id: str
    user_id: str | None
    item_ids: Sequence[str]


@dataclass
class Tracker:
    """The shop's tracker: appends what customers bought of what they were shown, one whole line for each answer."""

    outcomes: Path
    store: Callable[[], FeastStore]
    seed: int = 7
    bought: int = 0
    untold: int = 0

    def __post_init__(self) -> None:
        self._dice = np.random.default_rng(self.seed)
        self._torn = False

    def note(self, shown: Sequence[Shown]) -> None:
        """Let customers buy each item as often as before, as a share of their orders; whom nobody knows buys nothing."""
        told = 0
        try:
            known = self.store().online_rows("user_id", [one.user_id or "" for one in shown]) if shown else []
            for one, found in zip(shown, known, strict=True):
                bought = self._bought(one, _habits(found.values) if found else {})
                self._append(json.dumps({"request_id": one.request_id, "bought": bought}))
                told += 1
                self.bought += bool(bought)
        except (FeatureError, OSError):
            self.untold += len(shown) - told  # that their outcome is missing is what a canary must live with

    def _append(self, line: str) -> None:
        """Append a line in one write; what a full disk cut off is ended before the next."""
        whole = b"\n" * self._torn + line.encode() + b"\n"
        self.outcomes.parent.mkdir(parents=True, exist_ok=True)
        with self.outcomes.open("ab", buffering=0) as file:
            written = file.write(whole)
        self._torn = written < len(whole)
        if self._torn:
            raise OSError(f"{self.outcomes}: no room for a line.")

    def _bought(self, one: Shown, habits: Mapping[str, float]) -> list[str]:
        return [item for item in one.item_ids if self._dice.random() < habits.get(item, 0)]


@contextmanager
def tracking(tracker: Tracker, shown: Callable[[], Sequence[Shown]]) -> Iterator[None]:
    """Note in a thread what becomes of the answers that `shown` returns, each of them once; on the way out of the last ones, too."""
    over = threading.Event()

    def track() -> None:
        while not over.wait(BUY_EVERY_S):
            tracker.note(shown())
        tracker.note(shown())

    thread = threading.Thread(target=track, name="customers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _habits(features: Mapping[str, Any]) -> dict[str, float]:
    """The share of a customer's orders that held an item, by item."""
    shares = features["history_orders"] / max(features["user_orders"], 1)
    return dict(zip(features["history_item_ids"].tolist(), shares.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Shop:
    """The customers whom the feature store knew on a Monday."""

    week: datetime
    user_ids: Sequence[str]
    store: FeastStore

    def customer(self, dice: np.random.Generator) -> str:
        """One of them, or in one of twenty cases somebody whom the store does not know."""
        if dice.random() < STRANGERS or not self.user_ids:
            return f"stranger {dice.integers(1_000_000)}"
        return self.user_ids[int(dice.integers(len(self.user_ids)))]


def open_shop(ws: Workspace, before: Shop | None = None) -> Shop | None:
    """The customers of the last week whose features are done, which may be those of `before`; None while no week is."""
    weeks = ws.weeks_done("features")
    if not weeks or (before and before.week == weeks[-1]):
        return before
    store = FeastStore(ws.features, ws.settings.feast_online, patience_s=STORE_PATIENCE_S)
    return Shop(weeks[-1], store.keys("user_features", weeks[-1]), store)


def payments_of(ws: Workspace, dice: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Payments of the workspace's simulated issuer, without end, as `/score` takes them.

    They are those of the day after its last night, or of today where it has none, in any order and made at this time of day.
    Ids begin with the microseconds of the clock, so that two runs share none, nor any with the issuer's own.
    """
    world = CardWorld(CardSettings(seed=ws.settings.seed, per_day=ws.settings.card_payments))
    number = time.time_ns() // 1_000
    while True:
        nights = CardDays(ws).parts.done("windows")
        as_of = nights[-1] if nights else _now()
        day = world.day((as_of.date() - world.settings.start).days).transactions
        for row in dice.permutation(len(day)).tolist():
            [payment] = day.slice(row, 1).to_pylist()
            yield {**payment, "transaction_id": number, "timestamp": made_at(as_of, _now()).isoformat()}
            number += 1


def made_at(as_of: datetime, now: datetime) -> datetime:
    """When a payment was made, for an issuer that knows the days before `as_of` (both naive UTC): now, or at this time of its day."""
    return now if now - as_of < LATEST_NIGHT else datetime.combine(as_of.date(), now.time())


def became_of(status: int, body: Any) -> Outcome:
    """What an answer is to whoever asked; `body` is its JSON, or None."""
    if status in (401, 403):
        return "locked"
    if status == 503 and isinstance(body, dict) and body.get("error") == UNRELEASED["/score"]:
        return "unreleased"
    if status >= 500 or status == 429:
        return "again"
    if status == 200 and isinstance(body, dict) and isinstance(body.get("request_id"), str):
        return "answered"
    return "no service" if status < 400 or status in (404, 405) else "refused"


class _Latencies:
    """Counts by size, in steps of two per cent from a hundredth of a millisecond on: hours take no more memory than minutes."""

    _STEP, _SMALLEST_MS = math.log(1.02), 0.01

    def __init__(self) -> None:
        self._counts = np.zeros(800, np.int64)

    def add(self, latency_ms: float) -> None:
        step = math.ceil(math.log(max(latency_ms / self._SMALLEST_MS, 1)) / self._STEP)
        self._counts[min(step, len(self._counts) - 1)] += 1

    def quantile_ms(self, q: float) -> float | None:
        """The upper end of the step that it lies in; None without latencies."""
        upto = self._counts.cumsum()
        if not upto[-1]:
            return None
        step = int(np.searchsorted(upto, math.ceil(q * upto[-1])))
        return round(self._SMALLEST_MS * math.exp(step * self._STEP), 3)


class _Asker:
    """Asks on one path of the service, for each question as long as a customer has patience, and counts what becomes of it."""

    def __init__(self, session: aiohttp.ClientSession, asked: TrafficSettings, path: str) -> None:
        self._session, self._asked, self._path = session, asked, path
        self._url = asked.url.rstrip("/") + path
        self._count: Counter[str] = Counter()
        self._by_version: Counter[str] = Counter()
        self._latencies = _Latencies()
        self._longest_wait_s = 0.0

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer, or None where there is none. Raises SettingsError and PlatformError as `play` does."""
        too_many = self._unfinished >= self._asked.waiting_at_most
        self._count["asked"] += 1
        if too_many:
            self._count["lost"] += 1
            return None
        since, body = time.monotonic(), json.dumps(question).encode()
        deadline = since + self._asked.patience_s
        for number, pause_s in enumerate(chain(PAUSES_S, repeat(PAUSES_S[-1]))):
            began = time.monotonic()
            outcome, answer = await self._try(body, min(TIMEOUT_S, max(deadline - began, SHORTEST_TRY_S)))
            if outcome == "answered":
                self._answered(answer, since, None if number else (time.monotonic() - began) * 1000)
                return answer
            if outcome != "again" or time.monotonic() + pause_s >= deadline:
                break
            self._count["asked_again"] += number == 0
            await asyncio.sleep(pause_s)
        self._count["lost" if outcome == "again" else outcome] += 1
        return None

    def figures(self) -> dict[str, Any]:
        """The fields of Figures."""
        names = ("asked", "answered", "lost", "refused", "unreleased", "asked_again")
        return {
            **{name: self._count[name] for name in names},
            "unfinished": self._unfinished,
            "longest_wait_s": round(self._longest_wait_s, 3),
            "by_version": dict(self._by_version),
            "p50_ms": self._latencies.quantile_ms(0.5),
            "p99_ms": self._latencies.quantile_ms(0.99),
        }

    @property
    def _unfinished(self) -> int:
        count = self._count
        return count["asked"] - sum(count[name] for name in ("answered", "lost", "refused", "unreleased"))

    def _answered(self, answer: Mapping[str, Any], since: float, latency_ms: float | None) -> None:
        self._count["answered"] += 1
        self._by_version[answer.get("model_version") or "none"] += 1
        self._longest_wait_s = max(self._longest_wait_s, time.monotonic() - since)
        if latency_ms is not None:
            self._latencies.add(latency_ms)

    async def _try(self, body: bytes, timeout_s: float) -> tuple[Outcome, Any]:
        """What one try brings."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(self._url, data=body, timeout=timeout, allow_redirects=False) as reply:
                status, text = reply.status, await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "again", None
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        return self._judged(became_of(status, answer), status), answer

    def _judged(self, outcome: Outcome, status: int) -> Outcome:
        """Before the first answer a stranger's words end the traffic; later, somebody stands in for a service that restarts."""
        if outcome == "locked":
            held = "does not take the key" if self._asked.key else "wants a key"
            raise SettingsError(f"{self._asked.url} {held} ({status}); give one of its RECOMMENDER_API_KEYS.")
        if outcome != "no service":
            return outcome
        if self._count["answered"]:
            return "refused" if status >= 400 else "again"
        raise PlatformError(
            f"{self._url} answers {status}, as no service of this platform does. Give the address that `mlops serve` says, "
            "without a path, and look what else listens there."
        )


class _Play:
    """Everybody who asks, pays, buys and reports at the same time, in one event loop and the tracker's thread."""

    def __init__(
        self, ws: Workspace, asked: TrafficSettings, say: Callable[[Summary], None], every_s: float, keep_ids: bool
    ) -> None:
        self._ws, self._asked, self._say, self._every_s, self._keep_ids = ws, asked, say, every_s, keep_ids
        self.request_ids: list[str] = []
        self._dice = np.random.default_rng(asked.seed)
        self._payments = payments_of(ws, np.random.default_rng([asked.seed, 1]))
        self._shop: Shop | None = None
        self._shown: deque[Shown] = deque()
        self._tracker = Tracker(ServingFolder(ws.home).outcomes, self._store, asked.seed)
        self._dropped = 0
        self._customers: set[asyncio.Task[None]] = set()
        self._waiting_for = ""
        self._began = time.monotonic()

    async def run(self, until: threading.Event) -> None:
        """Until the event is set; raises what ends it before."""
        headers = {"Content-Type": "application/json"}
        if self._asked.key:
            headers["Authorization"] = f"Bearer {self._asked.key}"
        # A service that was started again may have another address under its name.
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=1)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            self._recommend = _Asker(session, self._asked, "/recommend")
            self._score = _Asker(session, self._asked, "/score")
            with tracking(self._tracker, self._take_shown):
                await self._until_over(until)

    def summary(self, missing: Sequence[str] | None = None) -> Summary:
        return Summary(
            **self._recommend.figures(),
            seconds=round(time.monotonic() - self._began, 1),
            payments=Figures(**self._score.figures()),
            bought=self._tracker.bought,
            untold=self._tracker.untold + self._dropped,
            waiting_for=self._waiting_for,
            unlogged=None if missing is None else tuple(missing),
        )

    async def _until_over(self, until: threading.Event) -> None:
        players = [self._start(work) for work in (self._play(), self._report(), self._watch(until))]
        try:
            await self._over
            await _ended(players)
            if self._customers:
                await asyncio.wait(self._customers, timeout=GRACE_S)
        finally:
            await _ended([*players, *self._customers])

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure ends everything."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        self._customers.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)

    async def _watch(self, until: threading.Event) -> None:
        while not until.is_set():
            await asyncio.sleep(0.1)
        if not self._over.done():
            self._over.set_result(None)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            self._say(self.summary())

    async def _play(self) -> None:
        await self._open_shop()
        await asyncio.gather(
            self._follow_weeks(),
            self._come(self._asked.rate, self._one_customer),
            self._come(self._asked.payments, self._one_payment),
        )

    async def _open_shop(self) -> None:
        """Wait for a first week; whoever only pays needs none."""
        while self._asked.rate and self._shop is None:
            self._shop = await asyncio.to_thread(open_shop, self._ws)
            if self._shop is None:
                if not self._waiting_for:
                    self._waiting_for = f"no week is done in {self._ws.home}: its features tell who the customers are"
                    self._say(self.summary())
                await asyncio.sleep(LOOK_S)
        self._waiting_for = ""

    async def _follow_weeks(self) -> None:
        while self._asked.rate:
            await asyncio.sleep(NEW_WEEK_S)
            with suppress(OSError):  # then the customers are those of the week before
                self._shop = await asyncio.to_thread(open_shop, self._ws, self._shop)

    async def _come(self, rate: float, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let one after the other come, at moments that do not depend on how those before fare."""
        due = time.monotonic()
        while rate:
            due += self._dice.exponential(1 / rate)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self._customers.add(self._start(one()))

    async def _one_customer(self) -> None:
        assert self._shop is not None
        user_id = self._shop.customer(self._dice)
        answer = await self._recommend.ask({"user_id": user_id, "k": 10})
        if answer is None:
            return
        self._keep(answer)
        if len(self._shown) < UNTOLD_AT_MOST:
            items = [item["item_id"] for item in answer["items"]]
            self._shown.append(Shown(answer["request_id"], user_id, items))
        else:
            self._dropped += 1

    async def _one_payment(self) -> None:
        answer = await self._score.ask(next(self._payments))
        if answer is not None:
            self._keep(answer)

    def _keep(self, answer: Mapping[str, Any]) -> None:
        if self._keep_ids:
            self.request_ids.append(answer["request_id"])

    def _take_shown(self) -> list[Shown]:
        return [self._shown.popleft() for _ in range(len(self._shown))]

    def _store(self) -> FeastStore:
        assert self._shop is not None
        return self._shop.store


async def _ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone; what they failed by was noted."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _require_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise SettingsError(f"{url!r} is no address of a service; write it as http://host:port.")
