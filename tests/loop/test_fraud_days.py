"""The fraud model's days on the real platform: history through the gates, nights through the DAG, an incident to its end."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.card_features import describe
from feature_repo.card_online import windows_of
from feature_repo.definitions import CARDS
from feature_repo.feast_store import FeastStore
from monitoring.fraud.act import go_back, tasks_for
from monitoring.fraud.beginning import history_ends
from monitoring.fraud.issuer import live_day, order_incident, stream_of
from monitoring.fraud.nightly_pages import write_pages
from monitoring.fraud.online_windows import write_windows
from monitoring.fraud.watch_day import is_to_be_asked, settle_day, watch_day
from tests.loop.conftest import run_mlops
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.orders import orders_after
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases
from training.settings import build_settings
from training.workspace import Workspace

pytestmark = pytest.mark.slow

FIRST = history_ends() + timedelta(days=1)


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A new workspace after its history and one night of the DAG, and what the command said."""
    out = tmp_path_factory.mktemp("fraud") / "workspace"
    finished = run_mlops("fraud", "live", "--out", out, "--days", "1", "--json")
    assert finished.returncode == 0, finished.stderr[-3000:]
    return out, json.loads(finished.stdout)


@pytest.fixture
def cards(first_night: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> CardDays:
    """A copy of it, to be changed."""
    home = tmp_path / "copy"
    shutil.copytree(first_night[0], home)
    return CardDays(Workspace(build_settings(home)))


def test_the_history_went_through_the_gates(first_night: tuple[Path, list[dict[str, Any]]]) -> None:
    """The first model had to beat the amount alone, its successor the first; both on evidence that the record holds."""
    ws = Workspace(build_settings(first_night[0]))
    promoted = [d for d in ws.decisions.read(FRAUD.model) if d.kind == "promotion"]
    rivals = [{e.name.rpartition(":")[2] for e in d.evidence if "_diff_vs:" in e.name} for d in promoted]
    assert rivals == [{"amount_alone"}, {"champion"}]
    assert {d.actor for d in promoted} == {"policy"}
    assert MlflowRegistry(ws.settings, FRAUD).aliases() == Aliases(
        champion=promoted[1].model_version, previous=promoted[0].model_version
    )


def test_a_clean_night_holds_and_is_diagnosed_alike_from_its_tables(
    first_night: tuple[Path, list[dict[str, Any]]],
) -> None:
    """Nothing is named, nothing frozen; and the command for strangers' tables, on the same folder, says the same."""
    out, [night] = first_night
    assert (night["as_of"], night["cause"], night["outcome"]) == (f"{FIRST:%Y-%m-%d}", "none", "hold")
    assert not night["training_frozen"]
    told = run_mlops("diagnose", out / "cards" / "tables", "--as-of", night["as_of"], "--json")
    assert told.returncode == 0, told.stderr[-2000:]
    assert json.loads(told.stdout)["cause"] == "none"


def test_a_wrong_batch_is_quarantined_mended_and_over(
    first_night: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """From the first night on the feed's owner is told and training frozen, also while what was wrong is looked at afterwards.

    What came first stays in quarantine; what is right now lies where it was, for the windows of the weeks to come.
    """
    home = tmp_path / "copy"
    shutil.copytree(first_night[0], home)
    finished = run_mlops("fraud", "live", "--out", home, "--days", "5", "--incident", "unit_change", "--json")
    assert finished.returncode == 0, finished.stderr[-3000:]
    nights = json.loads(finished.stdout)
    assert [night["outcome"] for night in nights[:2]] == ["quarantine_batch"] * 2
    assert [night["cause"] for night in nights[-2:]] == ["aftermath"] * 2
    assert all(night["training_frozen"] for night in nights)
    assert len({night["champion"] for night in nights}) == 1
    decisions = Workspace(build_settings(home)).decisions.read(FRAUD.model)
    assert orders_after(decisions, FIRST + timedelta(days=1)).training_frozen
    wrong = sorted((home / "cards" / "quarantine" / "transactions").glob("*.parquet"))
    assert wrong
    amounts = [pq.read_table(path)["amount"].to_numpy() for path in wrong]
    mended = [
        pq.read_table(home / "cards" / "tables" / "transactions" / path.name)["amount"].to_numpy() for path in wrong
    ]
    assert all(before.mean() > 10 * now.mean() for before, now in zip(amounts, mended, strict=True))
    [page] = (home / "cards" / "incidents").glob("*.html")
    assert "Unit change: quarantine batch" in page.read_text()


def test_a_person_takes_a_bad_release_back(cards: CardDays) -> None:
    """Before any chargeback a person is asked, once; their answer moves the alias, serves the version before, and ends it."""
    before = _aliases(cards).champion
    order_incident(cards, "bad_release", 1.0)
    bad = _aliases(cards).champion
    night = FIRST + timedelta(days=1)
    watched = _night(cards, night)
    assert (watched["cause"], watched["action"]) == ("bad_release", "ask_a_person")
    assert "bad_release" in watched["question"]
    assert is_to_be_asked(cards, night)
    answer = {
        "chosen_options": ["go back to the previous version"],
        "responded_by_user": {"id": "1", "name": "ann"},
    }
    settled = settle_day(cards, night, answer)
    assert (settled["outcome"], settled["actor"]) == ("roll_back", "person:ann")
    assert not is_to_be_asked(cards, night)
    assert tasks_for(cards, night) == ["go_back"]
    for _ in range(2):  # as often as a task is tried again
        assert go_back(cards, night)["champion"] == before
    assert _aliases(cards).champion == before != bad
    assert [d.actor for d in cards.ws.decisions.read(FRAUD.model) if d.kind == "rollback"] == ["person:ann"]
    pages = write_pages(cards, night)
    assert all((cards.ws.home / str(page)).exists() for page in pages.values())
    assert "Bad release" in (cards.ws.home / str(pages["incident"])).read_text()
    after = _night(cards, night + timedelta(days=1))
    assert (cards.parts.require(night + timedelta(days=1), "live")["live"], after["cause"]) == (before, "none")


def test_an_answer_stands_for_a_week(cards: CardDays) -> None:
    """Who said to change nothing is not asked the same on the next night; the record says whose answer holds."""
    order_incident(cards, "bad_release", 1.0)
    nights = [FIRST + timedelta(days=n) for n in (1, 2)]
    _night(cards, nights[0])
    settle_day(cards, nights[0], {"chosen_options": ["change nothing, and keep training frozen"]})
    assert _night(cards, nights[1])["action"] == "ask_a_person"
    assert not is_to_be_asked(cards, nights[1])
    assert settle_day(cards, nights[1], None)["outcome"] == "hold"
    last = cards.ws.decisions.read(FRAUD.model)[-1]
    assert "policy-default answered" in last.reason
    assert orders_after([last], nights[1]).training_frozen


def test_serving_reads_what_the_lake_computes(cards: CardDays) -> None:
    """The windows that a night wrote online describe the next day's payments as the lake does: no skew of our own."""
    write_windows(cards, FIRST)
    live_day(cards, FIRST + timedelta(days=1))
    lived = stream_of(cards).days[-1]
    columns = {name: lived.rows[name].to_numpy(zero_copy_only=False) for name in lived.rows.column_names}
    store = FeastStore(cards.features, cards.ws.settings.feast_online, CARDS)
    customers, terminals = (
        store.online_rows(key, [int(i) for i in columns[key]]) for key in ("customer_id", "terminal_id")
    )
    served = describe(columns, windows_of(customers, terminals, FIRST))
    np.testing.assert_array_equal(served, lived.features_offline)


def test_a_day_that_was_killed_half_way_is_lived_again_alike(cards: CardDays) -> None:
    """A day counts once its transactions are there, which are written last; what stood before is written over, the same."""
    day = stream_of(cards).world.date_of(len(stream_of(cards).days) - 1)
    tables = ("features_online", "scores", "labels", "audits", "transactions")
    before = {name: pq.read_table(cards.path(name, day)) for name in tables}
    cards.path("transactions", day).unlink()
    cards.path("labels", day).write_bytes(b"half a file")
    shutil.rmtree(cards.parts.folder / f"{FIRST:%Y-%m-%d}")
    live_day(cards, FIRST)
    for name in tables:
        pd.testing.assert_frame_equal(pq.read_table(cards.path(name, day)).to_pandas(), before[name].to_pandas())


def test_what_lies_on_disk_knows_the_truth_of_its_day(cards: CardDays) -> None:
    """The audit of a later night draws from days that were read again: an incident of the world is part of their truth."""
    ordered = order_incident(cards, "prior_shift", 1.0)
    night = FIRST + timedelta(days=1)
    live_day(cards, night)
    stream = stream_of(cards)
    number = len(stream.days) - 1
    truth = stream.world.day(number, ordered.incident(7).world(number)).truth["is_fraud"].to_numpy(zero_copy_only=False)
    assert truth.sum() > 1.5 * stream.world.day(number).truth["is_fraud"].to_numpy(zero_copy_only=False).sum()
    np.testing.assert_array_equal(stream.days[number].fraud, truth)


def test_an_order_that_is_repeated_goes_on(cards: CardDays) -> None:
    """Who runs the same command again after a failure has one bad release, and one that is put live."""
    first = order_incident(cards, "bad_release", 1.0)
    live_day(cards, FIRST + timedelta(days=1))
    assert order_incident(cards, "bad_release", 1.0, within=7) == first
    promoted = [d.model_version for d in cards.ws.decisions.read(FRAUD.model) if d.actor == "person:rehearsal"]
    assert len(promoted) == 1


def _night(cards: CardDays, at: datetime) -> dict[str, Any]:
    live_day(cards, at)
    return watch_day(cards, at)


def _aliases(cards: CardDays) -> Aliases:
    return MlflowRegistry(cards.ws.settings, FRAUD).aliases()
