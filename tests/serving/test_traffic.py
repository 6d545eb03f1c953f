"""Simulated customers keep coming, ask again while the service is away, and nobody is lost who had patience enough."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from aiohttp import web

from feature_repo.feast_store import FeastStore
from ingest.card_world import TRANSACTIONS
from ingest.errors import PlatformError, SettingsError
from serving.guard import NO_MODEL_SCORES, UNRELEASED
from serving.harm import customers_who_buy
from serving.prediction_log import PredictionLog
from serving.release import ServingFolder
from serving.slice_counts import SliceCounter
from serving.traffic import (
    Figures,
    Shown,
    Summary,
    Tracker,
    TrafficSettings,
    _Latencies,
    became_of,
    made_at,
    open_shop,
    payments_of,
    play,
    unlogged,
)
from tests.feature_repo.events import MONDAY, WEEK, interactions
from tests.serving.answers import NOON, answer, write
from training.fraud.card_days import CardDays
from training.scored_payments import SCHEMA as SCORED
from training.settings import build_settings
from training.workspace import Workspace

#: Anne's every order holds x, and every second one y; z is new to her. Bob bought z once.
PURCHASES = [("anne", "x", 3, 0), ("anne", "x", 20, 0), ("anne", "y", 3, 0), ("bob", "z", 9, 0)]
HANG = None

Reply = tuple[int, Any] | None
Replies = Callable[[str, dict[str, Any]], Reply]
"""From a path and what is asked to status and body; None is silence."""


def well(path: str, asked: dict[str, Any]) -> Reply:
    """What a service answers that fares well."""
    body: dict[str, Any] = {"request_id": uuid4().hex, "model_version": "3"}
    return 200, {**body, "items": [{"item_id": item} for item in "xyz"]} if path == "/recommend" else body


class Service:
    """A service that answers as it is told, and can be stopped and started again on its port."""

    def __init__(self) -> None:
        self.replies: Replies = well
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: set[str | None] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{path}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.asked.append((request.path, asked))
        self.keys.add(request.headers.get("Authorization"))
        reply = self.replies(request.path, asked)
        while reply is HANG:
            await asyncio.sleep(60)
        status, body = reply
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose feature store knows Anne and Bob; only to be copied."""
    home = tmp_path_factory.mktemp("shop")
    ws = Workspace(build_settings(home))
    store = FeastStore(ws.features)
    store.apply()
    store.write_rows(interactions(PURCHASES), MONDAY)
    store.materialise(MONDAY)
    ws.once(MONDAY, "features", dict)
    return home


@pytest.fixture
def ws(shop: Path, tmp_path: Path) -> Workspace:
    """A workspace of one's own, at the end of its first week."""
    return Workspace(build_settings(shutil.copytree(shop, tmp_path / "ws")))


@contextmanager
def traffic(ws: Workspace, asked: TrafficSettings, **how: Any) -> Iterator[list[Summary]]:
    """Traffic meanwhile, in a thread, from the first question on; afterwards the list holds its last summary."""
    over, begun, told = threading.Event(), threading.Event(), list[Summary]()
    failed: list[BaseException] = []

    def hear(summary: Summary) -> None:
        if summary.asked:
            begun.set()

    def run() -> None:
        try:
            told.append(play(ws, asked, until=over, say=hear, every_s=0.02, **how))
        except PlatformError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(timeout=20), failed
        yield told
    finally:
        over.set()
        thread.join(timeout=20)
    assert not thread.is_alive()
    assert not failed, failed


def sums_up(figures: Figures) -> bool:
    rest = figures.lost + figures.refused + figures.unreleased + figures.unfinished
    return figures.asked == figures.answered + rest


def test_everybody_is_answered_at_the_rate_that_was_asked_for(service: Service, ws: Workspace) -> None:
    """Customers and payments alike; what was answered is counted by version, and how long it took."""
    with traffic(ws, TrafficSettings(service.url, rate=60, payments=30, key="k" * 20)) as told:
        time.sleep(3)
    [summary] = told
    assert 120 <= summary.asked <= 240
    assert 50 <= summary.payments.asked <= 130
    for figures in (summary, summary.payments):
        assert (figures.answered, figures.asked_again, figures.by_version) == (figures.asked, 0, {"3": figures.asked})
        assert figures.p50_ms is not None
        assert figures.p99_ms is not None
        assert 0 < figures.p50_ms <= figures.p99_ms
    assert service.keys == {f"Bearer {'k' * 20}"}
    assert json.loads(json.dumps(summary.to_dict()))["payments"]["answered"] == summary.payments.asked
    customers = [asked["user_id"] for path, asked in service.asked if path == "/recommend"]
    strangers = [one for one in customers if one not in ("anne", "bob")]
    assert 0 < len(strangers) < len(customers) / 5


def test_a_restart_loses_nobody(service: Service, ws: Workspace) -> None:
    """Others come while the service is away; all of them ask again until it is back."""
    with traffic(ws, TrafficSettings(service.url, rate=30, payments=10)) as told:
        time.sleep(0.7)
        service.stop()
        time.sleep(3)
        service.start()
        time.sleep(2)
    [summary] = told
    assert summary.asked >= 100
    for figures in (summary, summary.payments):
        assert (figures.lost, figures.refused, figures.unfinished) == (0, 0, 0)
        assert figures.answered == figures.asked
        assert figures.asked_again >= figures.asked / 4
        assert 2.5 < figures.longest_wait_s < 6
    assert summary.p99_ms is not None
    assert summary.p99_ms < 1_000  # of those who need not ask again


def test_patience_comes_to_an_end(service: Service, ws: Workspace) -> None:
    """Who asked in vain for as long as he wanted to is lost."""
    service.stop()
    with traffic(ws, TrafficSettings(service.url, rate=20, payments=0, patience_s=0.6)) as told:
        time.sleep(2)
    service.start()
    [summary] = told
    assert summary.lost > 10
    assert summary.answered == 0
    assert sums_up(summary)
    assert (summary.p50_ms, summary.by_version, summary.longest_wait_s) == (None, {}, 0)


def test_who_waits_when_it_ends_is_not_lost(service: Service, ws: Workspace) -> None:
    """The end comes within about a second, whoever hangs on a service that says nothing."""
    service.replies = lambda *_: HANG
    with traffic(ws, TrafficSettings(service.url, rate=30, payments=10)) as told:
        time.sleep(1)
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 2
    [summary] = told
    for figures in (summary, summary.payments):
        assert (figures.answered, figures.lost) == (0, 0)
        assert figures.unfinished == figures.asked > 0


def test_silence_is_asked_again(service: Service, ws: Workspace) -> None:
    """After two seconds, on another connection."""
    asked: list[str] = []

    def hangs_first(path: str, question: dict[str, Any]) -> Reply:
        asked.append(path)
        return HANG if len(asked) == 1 else well(path, question)

    service.replies = hangs_first
    with traffic(ws, TrafficSettings(service.url, rate=5, payments=0)) as told:
        time.sleep(3.5)
    [summary] = told
    assert (summary.asked_again, summary.answered, summary.lost) == (1, summary.asked, 0)
    assert 2 < summary.longest_wait_s < 4


def test_only_so_many_wait_at_once(service: Service, ws: Workspace) -> None:
    """Whoever comes then is lost without having asked, and memory stays what it is."""
    service.replies = lambda *_: HANG
    asked = TrafficSettings(service.url, rate=60, payments=0, waiting_at_most=10)
    with traffic(ws, asked) as told:
        time.sleep(1.5)
    [summary] = told
    assert summary.unfinished == 10
    assert summary.lost == summary.asked - 10 > 20
    assert len(service.asked) <= 10


#    what the service answers, and what that is to whoever asked
BECAME: list[tuple[int, Any, str]] = [
    (200, {"request_id": "r"}, "answered"),
    (200, {"hello": "world"}, "no service"),
    (200, None, "no service"),
    (302, None, "no service"),
    (404, {"error": "there is no such path"}, "no service"),
    (405, None, "no service"),
    (400, {"error": "user_id: too long"}, "refused"),
    (413, {"error": "too large"}, "refused"),
    (401, {"error": "unauthorized"}, "locked"),
    (403, None, "locked"),
    (429, {"error": "too many requests"}, "again"),
    (500, None, "again"),
    (502, None, "again"),
    (503, {"error": "nothing is released yet"}, "again"),
    (503, {"error": NO_MODEL_SCORES}, "again"),
    (503, {"error": UNRELEASED["/score"]}, "unreleased"),
    (504, None, "again"),
]


@pytest.mark.parametrize(("status", "body", "outcome"), BECAME)
def test_what_an_answer_is_to_whoever_asked(status: int, body: Any, outcome: str) -> None:
    """Only what may pass is asked again."""
    assert became_of(status, body) == outcome


def test_a_request_that_is_at_fault_is_not_repeated(service: Service, ws: Workspace) -> None:
    """It is counted as refused; a fraud model that is not there is no loss either."""
    service.replies = lambda path, _: (
        (400, {"error": "no"}) if path == "/recommend" else (503, {"error": UNRELEASED["/score"]})
    )
    with traffic(ws, TrafficSettings(service.url, rate=30, payments=30)) as told:
        time.sleep(1)
    [summary] = told
    assert summary.refused == summary.asked > 5
    assert summary.payments.unreleased == summary.payments.asked > 5
    assert len(service.asked) == summary.asked + summary.payments.asked


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        ((401, {"error": "send a key"}), SettingsError, "wants a key.*RECOMMENDER_API_KEYS"),
        ((403, {}), SettingsError, "wants a key"),
        ((404, "not here"), PlatformError, "answers 404.*mlops serve"),
        ((200, "<html>"), PlatformError, "answers 200, as no service"),
    ],
)
def test_what_cannot_go_well_ends_it_at_once(
    service: Service, ws: Workspace, reply: Reply, error: type[PlatformError], message: str
) -> None:
    """A key that is not taken, or somebody else's server: the error says what to do."""
    service.replies = lambda *_: reply
    with pytest.raises(error, match=message):
        play(ws, TrafficSettings(service.url, rate=50), until=threading.Event(), say=lambda _: None)


def test_a_bad_key_is_never_shown(service: Service, ws: Workspace) -> None:
    """Neither in the error nor where the settings are printed."""
    service.replies = lambda *_: (401, {})
    asked = TrafficSettings(service.url, rate=50, key="a-secret-of-the-shop")
    with pytest.raises(SettingsError, match="does not take the key") as raised:
        play(ws, asked, until=threading.Event(), say=lambda _: None)
    assert "secret" not in f"{raised.value}{asked}"


def test_a_stand_in_for_a_restarting_service_ends_nothing(service: Service, ws: Workspace) -> None:
    """Once the service has answered, another's page is somebody who is asked again."""
    with traffic(ws, TrafficSettings(service.url, rate=30, payments=0)) as told:
        time.sleep(0.7)
        service.replies = lambda *_: (200, "<html>back soon</html>")
        time.sleep(0.5)
        service.replies = well
        time.sleep(1.5)
    [summary] = told
    assert summary.asked_again > 0
    assert (summary.answered, summary.lost) == (summary.asked, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "127.0.0.1:3000"}, "write it as http://host:port"),
        ({"url": "http://"}, "write it as http://host:port"),
        ({"url": "http://a:99999"}, "write it as http://host:port"),
        ({"rate": -1}, "neither may be below 0"),
        ({"rate": 0, "payments": 0}, "nor both be 0"),
        ({"rate": float("nan")}, "no traffic"),
        ({"patience_s": 0}, "must be above 0"),
        ({"waiting_at_most": 0}, "must be above 0"),
        ({"key": "two\nlines"}, "no header carries"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    """Before anybody asks, with what to do instead."""
    with pytest.raises(SettingsError, match=message):
        TrafficSettings(**{"url": "http://127.0.0.1:3000", **settings})


def test_customers_come_when_there_is_a_first_week(service: Service, shop: Path, tmp_path: Path) -> None:
    """Until then it is said what is waited for, and nobody asks."""
    home = shutil.copytree(shop, tmp_path / "ws", ignore=shutil.ignore_patterns("weeks"))
    ws, over, told = Workspace(build_settings(home)), threading.Event(), list[Summary]()

    def hear(summary: Summary) -> None:
        told.append(summary)
        if len(told) == 1:
            assert not service.asked
            ws.once(MONDAY, "features", dict)
        elif summary.answered:
            over.set()

    last = play(ws, TrafficSettings(service.url, rate=30), until=over, say=hear, every_s=0.3)
    assert "no week is done" in told[0].waiting_for
    assert (told[0].asked, last.waiting_for) == (0, "")
    assert last.answered == last.asked > 0


def test_customers_are_those_of_the_last_week(ws: Workspace) -> None:
    """A shop that is open is kept until there is a newer week."""
    first = open_shop(ws)
    assert first is not None
    assert (first.week, first.user_ids) == (MONDAY, ["anne", "bob"])
    assert open_shop(ws, first) is first
    first.store.write_rows(interactions([*PURCHASES, ("cleo", "x", -1, 0)]), MONDAY + WEEK)
    ws.once(MONDAY + WEEK, "features", dict)
    second = open_shop(ws, first)
    assert second is not None
    assert second.user_ids == ["anne", "bob", "cleo"]


def test_outcomes_are_lines_that_a_canary_reads(service: Service, ws: Workspace) -> None:
    """One whole line for each answer; known customers buy by habit, and never what they did not buy before."""
    with traffic(ws, TrafficSettings(service.url, rate=60, payments=0)) as told:
        time.sleep(2)
    [summary] = told
    text = ServingFolder(ws.home).outcomes.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert text.endswith("\n")
    assert len(lines) == len({line["request_id"] for line in lines}) == summary.answered
    assert summary.bought == sum(bool(line["bought"]) for line in lines) > 0
    assert summary.untold == 0
    counter = SliceCounter(ServingFolder(ws.home), "2", NOON)
    assert counter.read() is not None
    assert counter.malformed == 0


def test_a_hit_counts_for_its_slice(ws: Workspace) -> None:
    """What the tracker notes about a logged answer is what the canary counts."""
    folder = ServingFolder(ws.home)
    [request_id] = write(folder.predictions, [answer("canary", user_id="anne", items=("x",))])
    tracker = Tracker(folder.outcomes, lambda: FeastStore(ws.features))
    tracker.note([Shown(request_id, "anne", ["x"])])
    found = SliceCounter(folder, "2", NOON).read()
    assert found is not None
    assert (found.canary.outcomes, found.canary.hits) == (1, 1)


def test_habits_decide_what_is_bought(ws: Workspace) -> None:
    """An item is bought with the share of the customer's orders that held it; strangers buy nothing."""
    folder = ServingFolder(ws.home)
    tracker = Tracker(folder.outcomes, lambda: FeastStore(ws.features))
    tracker.note([Shown(f"{name} {n}", name, ["x", "y", "z"]) for n in range(400) for name in ("anne", "nobody")])
    lines = [json.loads(line) for line in folder.outcomes.read_text().splitlines()]
    anne, nobody = ([line["bought"] for line in lines if line["request_id"].startswith(w)] for w in ("anne", "nobody"))
    assert all("x" in bought and "z" not in bought for bought in anne)
    assert 150 < sum("y" in bought for bought in anne) < 250
    assert not any(nobody)
    assert tracker.bought == 400


def test_a_drills_customers_buy_by_the_same_habits(ws: Workspace) -> None:
    """Those of the canary and of its control, from the log's own rows; on the way out the last of them, too."""
    folder = ServingFolder(ws.home)
    with customers_who_buy(ws):
        ids = write(
            folder.predictions, [answer(slice_, user_id="anne", items=("x", "z")) for slice_ in ("canary", "rest")]
        )
    lines = [json.loads(line) for line in folder.outcomes.read_text().splitlines()]
    assert lines == [{"request_id": ids[0], "bought": ["x"]}]


def test_a_silent_feature_store_costs_outcomes_and_no_customers(service: Service, ws: Workspace) -> None:
    """What nobody can say is counted, and the traffic goes on."""
    with traffic(ws, TrafficSettings(service.url, rate=30, payments=0)) as told:
        time.sleep(0.3)
        (ws.features / "online.db").write_bytes(b"no database at all" * 100)
        time.sleep(1.2)
    [summary] = told
    assert summary.answered == summary.asked > 0
    assert summary.untold > 0


def test_a_line_that_a_full_disk_cut_off_is_ended_before_the_next(ws: Workspace) -> None:
    """It says nothing that can be counted, and costs no other line."""
    folder = ServingFolder(ws.home)
    tracker = Tracker(folder.outcomes, lambda: FeastStore(ws.features))
    folder.root.mkdir(exist_ok=True)
    folder.outcomes.write_text('{"request_id": "cu')
    tracker._torn = True
    tracker.note([Shown("whole", "nobody", [])])
    counter = SliceCounter(folder, "2", NOON)
    assert counter.read() is not None
    assert counter.malformed == 1
    assert json.loads(folder.outcomes.read_text().splitlines()[-1]) == {"request_id": "whole", "bought": []}


def test_answers_that_no_log_holds_are_named(service: Service, ws: Workspace) -> None:
    """Ids are kept when that is wanted; those of payments are looked for in their own log."""
    folder = ServingFolder(ws.home)

    def logs_it(path: str, asked: dict[str, Any]) -> Reply:
        status, body = well(path, asked) or (0, {})
        if path == "/recommend" and asked["user_id"] == "anne":
            prediction = answer("rest", at=datetime.now(UTC))._replace(request_id=body["request_id"])
            write(folder.predictions, [prediction])
        return status, body

    service.replies = logs_it
    with traffic(ws, TrafficSettings(service.url, rate=10, payments=0), keep_ids=True) as told:
        time.sleep(1.5)
    [summary] = told
    assert summary.unlogged is not None
    others = sum(asked["user_id"] != "anne" for _, asked in service.asked)
    assert len(summary.unlogged) == others


def test_the_log_is_given_time_to_be_written(ws: Workspace) -> None:
    """Workers write twice a second: what comes in while it is looked is no loss, and payments have a log of their own."""
    folder = ServingFolder(ws.home)
    [first, second] = [answer("rest", at=NOON), answer("rest", at=NOON)]
    write(folder.predictions, [first])
    scored = dict.fromkeys(SCORED.names, 0) | {
        "request_id": "paid", "at": NOON, "timestamp": NOON.replace(tzinfo=None), "model_version": "1", "blocked": False,
        "explored": False, "rung": "fresh", "features_at": None,
    }  # fmt: skip
    with PredictionLog(folder.payments, schema=SCORED, clock=lambda: NOON) as log:
        log.append(tuple(scored.values()))
    later = threading.Timer(0.7, write, [folder.predictions, [second]])
    later.start()
    assert unlogged(ws, [first.request_id, second.request_id, "paid"], NOON) == []
    later.join()


def test_no_ids_are_kept_unless_they_are_wanted(service: Service, ws: Workspace) -> None:
    """Nor anything else that grows: the summary says that nobody looked."""
    with traffic(ws, TrafficSettings(service.url, rate=20)) as told:
        time.sleep(0.5)
    assert told[0].unlogged is None


def test_payments_are_such_as_the_issuer_sees(ws: Workspace) -> None:
    """Made about now by its customers, with all columns of the feed, and with ids that no other run has."""
    first = list(islice(payments_of(ws, np.random.default_rng(0)), 50))
    time.sleep(0.001)
    second = list(islice(payments_of(ws, np.random.default_rng(0)), 50))
    assert list(first[0]) == TRANSACTIONS.names
    ids = [payment["transaction_id"] for payment in first + second]
    assert len(set(ids)) == 100
    assert 10**15 < min(ids) <= max(ids) < 2**63
    moments = [datetime.fromisoformat(payment["timestamp"]) for payment in first]
    assert all(abs((datetime.now(UTC).replace(tzinfo=None) - moment).total_seconds()) < 60 for moment in moments)
    json.dumps(first)


def test_a_replayed_issuer_is_paid_on_the_day_after_its_last_night(ws: Workspace) -> None:
    """Its windows are of the past: a payment of today would be one of which nothing is known."""
    night = datetime(2025, 3, 17)
    CardDays(ws).parts.once(night, "windows", dict)
    payment = next(payments_of(ws, np.random.default_rng(0)))
    assert payment["timestamp"].startswith("2025-03-17T")


@pytest.mark.parametrize(
    ("as_of", "now", "made"),
    [
        ("2026-03-02", "2026-03-02T09:30", "2026-03-02T09:30"),
        ("2026-03-02", "2026-03-03T00:10", "2026-03-03T00:10"),  # tonight's windows are not written yet
        ("2026-03-02", "2026-03-03T23:59", "2026-03-03T23:59"),
        ("2026-03-02", "2026-03-04T00:00", "2026-03-02T00:00"),
        ("2025-01-06", "2026-03-04T12:00", "2025-01-06T12:00"),
    ],
)
def test_when_a_payment_is_made(as_of: str, now: str, made: str) -> None:
    """Now where the nights go on by the clock, and on the day after the last one where they stopped."""
    assert made_at(*map(datetime.fromisoformat, (as_of, now))) == datetime.fromisoformat(made)


def test_quantiles_take_no_memory_for_what_they_count() -> None:
    """They are at most two per cent too high, whatever the size, and there are as many counts after hours as at first."""
    latencies = _Latencies()
    assert latencies.quantile_ms(0.5) is None
    before = latencies._counts.nbytes
    for n in range(1, 10_001):
        latencies.add(n / 10)
    for q, exact in ((0.5, 500), (0.99, 990)):
        assert latencies.quantile_ms(q) == pytest.approx(exact * 1.01, rel=0.0101)
    latencies.add(0)
    latencies.add(1e12)
    assert latencies._counts.nbytes == before
