"""Write each week's recommendations to Parquet, and read them back as they were served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import ArtefactError
from ingest.whole_files import write_whole

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),  # null: the default list, for customers who are not known
        pa.field("list", pa.string(), nullable=False),  # all, or new: without what the customer bought before
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # 1 to 20
        pa.field("score", pa.float32(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)

#: The customer that nobody knows: an empty history through the same code as everybody else's.
UNKNOWN = "\x00unknown"


def write_lists(lists: pd.DataFrame, version: str, path: Path) -> int:
    """Write what `recommend` returned, whole or not at all; returns the number of rows."""
    frame = lists.rename(columns={"scope": "list"}).assign(model_version=version)
    frame["user_id"] = frame["user_id"].where(frame["user_id"] != UNKNOWN, None)
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    write_whole(path, lambda temporary: pq.write_table(table, temporary))
    return len(frame)


def read_lists(path: Path) -> pd.DataFrame:
    """The lists of a week with the columns of SCHEMA. Raises ArtefactError when they were never written."""
    if not path.exists():
        raise ArtefactError(f"There are no recommendations at {path}; run that week first.")
    return pq.read_table(path, schema=SCHEMA, partitioning=None).to_pandas()


def lists_served_to(lists: pd.DataFrame, users: Sequence[str]) -> pd.DataFrame:
    """What these customers were shown, as (user_id, scope, rank, item_id): their own lists, or the default ones."""
    own = lists[lists["user_id"].isin(set(users))]
    strangers = sorted(set(users) - set(own["user_id"]))
    default = lists[lists["user_id"].isna()].drop(columns="user_id")
    shown = pd.concat([own, default.merge(pd.DataFrame({"user_id": strangers}), how="cross")], ignore_index=True)
    return shown.rename(columns={"list": "scope"})[["user_id", "scope", "rank", "item_id", "score"]]


def answered_online(predictions: pa.Table) -> pd.DataFrame:
    """The last list of each kind that each customer got from the service, with the columns of SCHEMA.

    Shadow answers, which nobody saw, and those to customers without a name are left out.
    """
    frame = predictions.to_pandas()
    seen = frame[(frame["slice"] != "shadow") & frame["user_id"].notna()]
    last = seen.drop_duplicates(["user_id", "list"], keep="last")
    rows = last[["user_id", "list", "item_ids", "scores", "model_version"]].explode(["item_ids", "scores"])
    rows = rows.rename(columns={"item_ids": "item_id", "scores": "score"}).dropna(subset=["item_id"])
    return rows.assign(rank=rows.groupby(["user_id", "list"]).cumcount() + 1)[SCHEMA.names]


def as_really_served(batch: pd.DataFrame, online: pd.DataFrame) -> pd.DataFrame:
    """The batch's lists, but what the service answered for customers whom it did answer."""
    key = pd.MultiIndex.from_frame(batch[["user_id", "list"]])
    replaced = key.isin(pd.MultiIndex.from_frame(online[["user_id", "list"]]))
    return pd.concat([batch[~replaced], online], ignore_index=True) if len(online) else batch
