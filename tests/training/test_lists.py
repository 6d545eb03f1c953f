"""Recommendation files keep their promise about columns, and strangers are served the default list."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from ingest.errors import ArtefactError
from serving.prediction_log import PredictionLog
from training.lists import (
    SCHEMA,
    UNKNOWN,
    answered_online,
    as_really_served,
    lists_served_to,
    read_lists,
    write_lists,
)
from training.predictions import Prediction, read_predictions
from training.recommender.rank import LIST_COLUMNS

RANKED = pd.DataFrame(
    {
        "user_id": ["1", "1", UNKNOWN, UNKNOWN],
        "scope": ["all", "new", "all", "new"],
        "rank": [1, 1, 1, 1],
        "item_id": ["a", "b", "c", "d"],
        "score": [0.9, 0.8, 0.7, 0.6],
    }
)


def test_written_and_read_back(tmp_path: Path) -> None:
    """The file has the promised columns, and null where the customer is unknown."""
    path = tmp_path / "week=2011-01-24.parquet"
    assert write_lists(RANKED, "7", path) == 4
    lists = read_lists(path)
    assert list(lists.columns) == SCHEMA.names
    assert lists["user_id"].tolist() == ["1", "1", None, None]
    assert set(lists["model_version"]) == {"7"}


def test_strangers_are_shown_the_default(tmp_path: Path) -> None:
    """A customer without a list of their own counts with what was really shown to them."""
    path = tmp_path / "lists.parquet"
    write_lists(RANKED, "7", path)
    shown = lists_served_to(read_lists(path), ["1", "stranger"])
    assert shown.set_index(["user_id", "scope"])["item_id"].to_dict() == {
        ("1", "all"): "a", ("1", "new"): "b", ("stranger", "all"): "c", ("stranger", "new"): "d",
    }  # fmt: skip


def test_lists_that_were_never_made(tmp_path: Path) -> None:
    """Asking for a week that did not run says which file is missing."""
    with pytest.raises(ArtefactError, match=r"no recommendations at .*week\.parquet"):
        read_lists(tmp_path / "week.parquet")


def test_what_the_service_answered_counts_as_shown(tmp_path: Path) -> None:
    """A customer's last answer of the week replaces the batch's list; what ran in the shadow was shown to nobody."""
    path = tmp_path / "week.parquet"
    batch = pd.DataFrame([("1", "all", 1, "a", 0.5), ("2", "all", 1, "a", 0.5)], columns=list(LIST_COLUMNS))
    write_lists(batch, "3", path)
    with PredictionLog(tmp_path / "log") as log:
        log.append(answer("1", minute=1, items=["x", "y"], version="4"))
        log.append(answer("1", minute=2, items=["y", "z"], version="5"))
        log.append(answer("2", minute=3, items=["x"], version="6", slice_="shadow"))
        log.append(answer(None, minute=3, items=["x"], version="5"))
    online = answered_online(read_predictions(tmp_path / "log"))
    shown = lists_served_to(as_really_served(read_lists(path), online), ["1", "2"]).sort_values(["user_id", "rank"])
    assert shown[["user_id", "rank", "item_id"]].values.tolist() == [["1", 1, "y"], ["1", 2, "z"], ["2", 1, "a"]]


def test_without_answers_the_batch_was_shown(tmp_path: Path) -> None:
    """Nobody asked the service: what the batch wrote is what customers saw."""
    batch = pd.DataFrame([("1", "all", 1, "a", 0.5)], columns=list(LIST_COLUMNS))
    write_lists(batch, "3", tmp_path / "week.parquet")
    lists, online = read_lists(tmp_path / "week.parquet"), answered_online(read_predictions(tmp_path / "log"))
    pd.testing.assert_frame_equal(as_really_served(lists, online), lists)


def answer(
    user_id: str | None, *, minute: int, items: list[str], version: str, slice_: Literal["rest", "shadow"] = "rest"
) -> Prediction:
    return Prediction(
        request_id=f"{user_id} {minute}", at=datetime(2011, 1, 25, 12, minute, tzinfo=UTC), user_id=user_id, slot="champion",
        slice=slice_, model_version=version, list="all", item_ids=items, scores=[0.5] * len(items), rung="fresh", known=True,
        features_at=None, index_as_of=None, latency_ms=1.0, worker=1,
    )  # fmt: skip
