"""Recommendation files keep their promise about columns, and strangers are served the default list."""

from pathlib import Path

import pandas as pd
import pytest

from ingest.errors import ArtefactError
from training.lists import SCHEMA, UNKNOWN, lists_served_to, read_lists, write_lists

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
