"""The demo: twelve simulated weeks in which the platform promotes, refuses, rolls back and asks, each for a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ingest.lake import Lake, read_interactions
from tests.loop.conftest import DEMO_WEEKS, run_mlops
from training.lists import SCHEMA

pytestmark = pytest.mark.slow


def decisions(workspace: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace / "decisions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "kind", ["promotion", "refusal", "rollback", "human_approval", "training_held", "retrain_request"]
)
def test_every_kind_of_decision_is_taken(demo: Path, kind: str) -> None:
    """Twelve weeks show each thing that the platform can do."""
    assert kind in {d["kind"] for d in decisions(demo)}


def test_one_record_a_week(weeks: list[dict[str, Any]]) -> None:
    """weeks.json has one record for each Monday, in order, each with what later readers rely on."""
    assert [w["as_of"] for w in weeks] == [
        f"{d:%Y-%m-%d}" for d in pd.date_range("2011-01-24", periods=DEMO_WEEKS, freq="7D")
    ]
    promised = {"as_of", "candidate", "champion", "verdict", "metrics", "realised", "action", "seconds"}
    assert all(promised <= set(week) for week in weeks)


def test_a_broken_feed_holds_training(weeks: list[dict[str, Any]]) -> None:
    """The week whose delivery was quarantined whole has no candidate; the one after it retrains at the watch's request."""
    [held] = [n for n, week in enumerate(weeks) if week["contract"]["state"] == "held"]
    assert weeks[held]["candidate"] is None
    assert (weeks[held]["action"]["cause"], weeks[held + 1]["action"]["cause"]) == ("broken feed", "feed restored")
    assert weeks[held + 1]["trigger"] == "request"


def test_a_rollback_is_earned(demo: Path, weeks: list[dict[str, Any]]) -> None:
    """What was rolled back was measurably worse than its predecessor, and never was live again."""
    for rollback in (d for d in decisions(demo) if d["kind"] == "rollback"):
        [worse] = [e for e in rollback["evidence"] if e["name"] == "ndcg_diff_vs_previous"]
        assert worse["high"] < 0
        after = [w for w in weeks if w["as_of"] >= rollback["at"][:10]]
        assert rollback["previous_version"] not in {w["champion"]["version"] for w in after}


def bought_before(demo: Path, monday: pd.Timestamp) -> pd.DataFrame:
    """Who had bought what, as known on a Monday."""
    lake = Lake(demo / "lake")
    events = read_interactions(lake.root, lake.snapshot(monday.to_pydatetime())).to_pandas()
    return events[events["event"] == "purchase"][["user_id", "item_id"]].drop_duplicates()


def test_lists_are_complete(demo: Path) -> None:
    """Every customer known on the Monday has two lists of ranks 1 to 20, and there is a default list for the unknown."""
    for path in sorted((demo / "recommendations").glob("*.parquet")):
        lists = pd.read_parquet(path, columns=SCHEMA.names)
        known = set(bought_before(demo, pd.Timestamp(path.stem.removeprefix("week=")))["user_id"])
        assert set(lists["user_id"].dropna()) == known
        assert set(lists["list"]) == {"all", "new"}
        ranks = lists.groupby(["user_id", "list"], dropna=False)["rank"].agg(["min", "max", "nunique", "size"])
        assert (ranks == [1, 20, 20, 20]).all(axis=None)
        assert lists["user_id"].isna().any()


def test_new_lists_hold_nothing_bought_before(demo: Path) -> None:
    """The list of new items has no item that its customer had bought by that Monday."""
    for path in sorted((demo / "recommendations").glob("*.parquet")):
        lists = pd.read_parquet(path)
        bought = bought_before(demo, pd.Timestamp(path.stem.removeprefix("week=")))
        assert lists[lists["list"] == "new"].merge(bought, on=["user_id", "item_id"]).empty


def test_the_model_earns_its_place(weeks: list[dict[str, Any]]) -> None:
    """In the calm weeks, before the campaign, the champion beats the best simple rule by more than .02 NDCG@10."""
    models = [w["metrics"]["models"] for w in weeks[:4] if w["metrics"] and "champion" in w["metrics"]["models"]]
    gain = [
        m["champion"]["ndcg_at_10_all"]["value"] - m["repeat_x_popularity"]["ndcg_at_10_all"]["value"] for m in models
    ]
    assert sum(gain) / len(gain) > 0.02


def test_rerunning_changes_nothing(demo: Path) -> None:
    """The same command again leaves every record, decision and list as it was."""
    kept = ("decisions.jsonl", "weeks.json", "recommendations/*.parquet", "weeks/*/*.json", "lake/manifests/*.json")
    before = {p: p.read_bytes() for pattern in kept for p in demo.glob(pattern)}
    finished = run_mlops(
        "replay", "--source", "shop", "--weeks", str(DEMO_WEEKS), "--seed", "7", "--out", demo, "--json"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert {p: p.read_bytes() for pattern in kept for p in demo.glob(pattern)} == before


def test_a_version_is_rebuilt_bit_for_bit(demo: Path, weeks: list[dict[str, Any]]) -> None:
    """From its record and the lake alone, the champion comes out the same to the last bit."""
    finished = run_mlops("reproduce", weeks[-1]["champion"]["version"], "--dir", demo, "--json")
    assert json.loads(finished.stdout)["compared"] == {**json.loads(finished.stdout)["compared"], "trees": True}
    assert finished.returncode == 0


def test_another_seed_does_not_go_on_in_the_same_workspace(demo: Path) -> None:
    """Two worlds are not mixed: the message names what differs and what to do."""
    finished = run_mlops("replay", "--source", "shop", "--weeks", "1", "--seed", "8", "--out", demo)
    assert finished.returncode == 1
    assert "seed was 7, now 8" in finished.stderr.replace("\n", " ")
