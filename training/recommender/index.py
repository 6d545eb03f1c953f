"""The item index: everything the recommender knows about the catalogue as of one moment, as plain arrays.

Built weekly, saved as .npz without pickle, held in memory by the service. The same input gives the same bytes.
"""

import zipfile
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import lapack
from scipy.sparse import csr_array, diags_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from ingest.errors import ArtefactError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Matrix = csr_array[Any, Any]

ITEM_FEATURES = (
    "item_purchases_1d", "item_purchases_3d", "item_purchases_1w", "item_purchases_4w", "item_purchases_26w", "item_purchases",
    "item_buyers_1w", "item_buyers_4w", "item_buyers_26w", "item_buyers", "item_repeat_share", "item_purchases_year_ago",
    "item_repeats_1w", "item_repeats_4w",
    "item_age_days", "item_days_since_last", "item_median_price", "item_last_price", "item_median_quantity",
)  # fmt: skip
MATRICES = ("covisited", "ease", "text", "peers", "peers_bought", "peers_found")
ABSENT = np.float32(-1)  # no feature is negative, so trees tell it apart, and no runtime needs an opinion about NaN

MAX_ITEMS = 20_000  # live catalogue; beyond it the items that sold longest ago are dropped
MAX_WORDS = 50_000
MAX_EASE_ITEMS = 5_000  # EASE inverts a dense matrix: 100 MB and about 3 s at this size, growing with the cube
NEIGHBOURS = 100  # kept per item and similarity; scores beyond are noise
EASE_L2 = 4.0
COVISIT_SHRINKAGE = np.float32(0.5)
BASKET_HALF_LIFE_DAYS = 56
PEER_DAYS = 56  # who bought nothing for so long says nothing about this week's demand
PEER_HALF_LIFE_DAYS = 7
PEER_SHRINKAGE = np.float32(2)
POPULARITY_HALF_LIFE_DAYS = 14
POPULAR_ITEMS, ARRIVAL_ITEMS = 60, 30
ARRIVAL_DAYS = 28
DAY_MICROSECONDS = 86_400_000_000
BLOCK_CELLS = 4_000_000  # dense cells held at once while sparsifying: 16 MB in float32


@dataclass(frozen=True, eq=False)
class ItemIndex:
    """Arrays over item numbers 0..n-1, which follow the sorted item ids.

    The similarities are n x n: row = item in the history, column = item to recommend. Peers are the customers who bought something lately:
    how much a customer is like each peer, times what those peers bought or first found, is demand among people of the same taste.
    """

    as_of: datetime
    item_ids: npt.NDArray[np.str_]
    features: FloatArray  # n x len(ITEM_FEATURES)
    popularity: FloatArray  # recent purchases, decayed
    covisited: Matrix
    ease: Matrix
    text: Matrix
    peers: Matrix  # n x peers: how strongly an item ties its buyer to each peer
    peers_bought: Matrix  # peers x n: what each peer bought lately, decayed
    peers_found: Matrix  # peers x n: the same, of items bought for the first time

    @property
    def size(self) -> int:
        return len(self.item_ids)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Map an item id to its number; ids outside the live catalogue are missing."""
        return {item_id: number for number, item_id in enumerate(self.item_ids.tolist())}

    @cached_property
    def similarities(self) -> Matrix:
        """The three similarities side by side: n x 3n."""
        return csr_array(hstack([self.covisited, self.ease, self.text], format="csr"))

    @cached_property
    def peers_demand(self) -> Matrix:
        """What peers bought and what they found, side by side: peers x 2n."""
        return csr_array(hstack([self.peers_bought, self.peers_found], format="csr"))

    @cached_property
    def shared_candidates(self) -> dict[str, IntArray]:
        """Name the items that everybody gets: the best sellers of late, and the best sellers among arrivals."""
        arrived = np.where(self.feature("item_age_days") < ARRIVAL_DAYS, self.popularity, 0)
        return {"popular": _largest(self.popularity, POPULAR_ITEMS), "arrivals": _largest(arrived, ARRIVAL_ITEMS)}

    @cached_property
    def popularity_rank(self) -> FloatArray:
        """Place of each item by recent popularity, 0 first; ties go to the smaller item number."""
        return np.argsort(np.argsort(-self.popularity, kind="stable"), kind="stable").astype(np.float32)

    def feature(self, name: str) -> FloatArray:
        return self.features[:, ITEM_FEATURES.index(name)]


def build_index(purchases: pd.DataFrame, item_features: pd.DataFrame, as_of: datetime) -> ItemIndex:
    """Build the index from purchases before `as_of` and the item features of that moment.

    `purchases` needs user_id, item_id and event_time; `item_features` one row per item as `feature_repo.features` makes them.
    """
    catalogue = _live_catalogue(item_features)
    item_ids = catalogue["item_id"].to_numpy(dtype=np.str_)
    lines = number_lines(purchases, item_ids, as_of)
    baskets = recent_baskets(lines, len(item_ids))
    peers, bought, found = _peers(lines, len(item_ids))
    return ItemIndex(
        as_of=as_of,
        item_ids=item_ids,
        features=catalogue[list(ITEM_FEATURES)].astype(np.float32).fillna(ABSENT).to_numpy(dtype=np.float32),
        popularity=np.bincount(
            lines.item, _decay(lines.day, POPULARITY_HALF_LIFE_DAYS), minlength=len(item_ids)
        ).astype(np.float32),
        covisited=_covisited(baskets),
        ease=fit_ease(baskets, EASE_L2),
        text=_text_similarity(catalogue["item_text"]),
        peers=peers,
        peers_bought=bought,
        peers_found=found,
    )


def save_index(index: ItemIndex, path: Path) -> None:
    """Write the index as one .npz; ids are fixed-width unicode, so no pickle is involved."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "as_of": np.array(index.as_of.isoformat()),
        "item_ids": index.item_ids,
        "names": np.array(ITEM_FEATURES),
        "features": index.features,
        "popularity": index.popularity,
    }
    for name in MATRICES:
        matrix: Matrix = getattr(index, name)
        arrays |= {
            f"{name}_{part}": np.asarray(getattr(matrix, part)) for part in ("data", "indices", "indptr", "shape")
        }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_index(path: Path) -> ItemIndex:
    """Read an index that `save_index` wrote; raises ArtefactError when it is missing or of another format."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if tuple(arrays["names"].tolist()) != ITEM_FEATURES:
                raise ValueError("its features are not those of this version")
            matrices = {
                name: csr_array(
                    (arrays[f"{name}_data"], arrays[f"{name}_indices"], arrays[f"{name}_indptr"]),
                    shape=tuple(arrays[f"{name}_shape"].tolist()),
                )
                for name in MATRICES
            }
            return ItemIndex(
                as_of=datetime.fromisoformat(str(arrays["as_of"])),
                item_ids=arrays["item_ids"],
                features=arrays["features"],
                popularity=arrays["popularity"],
                **matrices,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArtefactError(f"{path} is not an item index ({error}); rebuild it by running the week again") from error


@dataclass(frozen=True, eq=False)
class Lines:
    """Purchases as numbers: one entry per customer, item and day; day 0 is the last 24 hours."""

    user: IntArray
    item: IntArray
    day: IntArray


def number_lines(purchases: pd.DataFrame, item_ids: npt.NDArray[np.str_], as_of: datetime) -> Lines:
    """Replace the ids of purchases before `as_of` by numbers; items outside `item_ids` are left out."""
    known = purchases[purchases["event_time"] < as_of]
    user, _ = pd.factorize(known["user_id"], sort=True)
    item = pd.Index(item_ids.astype(object)).get_indexer(pd.Index(known["item_id"].astype(object)))
    microseconds = (np.datetime64(as_of, "us") - known["event_time"].to_numpy("datetime64[us]")).astype(np.int64)
    day = (microseconds - 1) // DAY_MICROSECONDS
    lines = (
        pd.DataFrame({"user": user, "item": item, "day": day})[item >= 0]
        .drop_duplicates()
        .sort_values(["user", "day", "item"])
    )
    return Lines(*(lines[name].to_numpy(np.int32) for name in ("user", "item", "day")))


def recent_baskets(lines: Lines, size: int) -> Matrix:
    """Lay out what each customer bought in each week, baskets x items, so that B.T @ B adds up pairs bought together.

    Old baskets count less, and each basket counts once however large it is: a wholesaler's 200 lines say little about any one pair.
    """
    week = lines.day // 7
    rows, _ = pd.factorize(lines.user.astype(np.int64) * (int(week.max(initial=0)) + 1) + week)
    weights = np.sqrt(_decay(week * 7, BASKET_HALF_LIFE_DAYS) / np.bincount(rows)[rows] if len(rows) else np.empty(0))
    shape = (int(rows.max(initial=-1)) + 1, size)
    baskets: Matrix = csr_array((weights.astype(np.float32), (rows, lines.item)), shape=shape)
    baskets.sum_duplicates()
    return baskets


def fit_ease(baskets: Matrix, l2: float) -> Matrix:
    """Fit EASE (Steck 2019, doi 10.1145/3308558.3313710) on the items with most weight in `baskets`."""
    size = baskets.shape[1]
    weight = np.asarray(baskets.multiply(baskets).sum(axis=0)).ravel()
    active = np.sort(np.argsort(-weight, kind="stable")[: min(MAX_EASE_ITEMS, np.count_nonzero(weight))])
    if not active.size:
        return csr_array((size, size), dtype=np.float32)
    columns = baskets[:, active]
    gram = (columns.T @ columns).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    factor, _ = lapack.spotrf(gram)
    upper, _ = lapack.spotri(factor)
    inverse = np.triu(upper) + np.triu(upper, 1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return _spread(_keep_largest(weights), active, size)


def nearest(left: Matrix, right: Matrix) -> Matrix:
    """Keep the largest entries of each row of left @ right, without the diagonal, a block of rows at a time."""
    size = left.shape[0]
    if not size:
        return csr_array((0, 0), dtype=np.float32)
    rows = max(1, BLOCK_CELLS // max(1, size))
    blocks = []
    for start in range(0, size, rows):
        block = (left[start : start + rows] @ right).toarray()
        block[np.arange(len(block)), np.arange(start, start + len(block))] = 0
        blocks.append(_keep_largest(block))
    counts = np.concatenate([np.diff(block.indptr) for block in blocks])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    data, indices = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("data", "indices"))
    return csr_array((data, indices, indptr), shape=(size, size))


def _largest(values: FloatArray, limit: int) -> IntArray:
    best = np.argsort(-values, kind="stable")[:limit]
    return best[values[best] > 0].astype(np.int32)


def _live_catalogue(item_features: pd.DataFrame) -> pd.DataFrame:
    by_recency = item_features.sort_values(
        ["item_days_since_last", "item_purchases", "item_id"], ascending=[True, False, True]
    )
    return by_recency.head(MAX_ITEMS).sort_values("item_id", ignore_index=True)


def _decay(days: IntArray, half_life_days: float) -> FloatArray:
    return np.exp2(-days / half_life_days).astype(np.float32)


def _peers(lines: Lines, size: int) -> tuple[Matrix, Matrix, Matrix]:
    """Describe the customers of the last weeks by what they hold (a share of each one's taste), bought and found."""
    held = pd.DataFrame({"user": lines.user, "item": lines.item, "day": lines.day})
    held = held[held.groupby("user")["day"].transform("min") < PEER_DAYS]
    held["peer"], customers = pd.factorize(held["user"])

    def lay_out(rows: pd.DataFrame, half_life_days: float) -> Matrix:
        weights = _decay(rows["day"].to_numpy(), half_life_days)
        places = rows["peer"].to_numpy(np.int32), rows["item"].to_numpy(np.int32)
        matrix: Matrix = csr_array((weights, places), shape=(len(customers), size))
        matrix.sum_duplicates()
        return matrix

    taste = lay_out(held, BASKET_HALF_LIFE_DAYS)
    taste.data = np.minimum(taste.data, 1)
    per_peer, per_item = (np.asarray(taste.sum(axis=axis), np.float32).ravel() for axis in (1, 0))
    shares = diags_array(1 / per_peer) @ taste @ diags_array(1 / np.sqrt(per_item + PEER_SHRINKAGE))

    first_time = held["day"] == held.groupby(["peer", "item"])["day"].transform("max")
    recent = held["day"] < PEER_DAYS
    return (
        csr_array(shares.T.astype(np.float32)),
        lay_out(held[recent], PEER_HALF_LIFE_DAYS),
        lay_out(held[recent & first_time], PEER_HALF_LIFE_DAYS),
    )


def _covisited(baskets: Matrix) -> Matrix:
    """Compare items by the cosine of the baskets that hold them, shrunk where few do."""
    norm = np.sqrt(np.asarray(baskets.multiply(baskets).sum(axis=0)).ravel()) + COVISIT_SHRINKAGE
    scaled = csr_array(baskets @ diags_array(1 / norm).astype(np.float32))
    return nearest(csr_array(scaled.T), scaled)


def _text_similarity(texts: pd.Series) -> Matrix:
    """Compare items by the words of their names: the only thing known about an item that nobody has bought yet."""
    filled = texts.fillna("").astype(str)
    if not filled.str.contains(r"\w\w").any():
        return csr_array((len(texts), len(texts)), dtype=np.float32)
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=MAX_WORDS, dtype=np.float32)
    words: Matrix = csr_array(vectorizer.fit_transform(filled))
    return nearest(words, csr_array(words.T))


def _keep_largest(dense: FloatArray) -> Matrix:
    """Keep the positive entries among the `NEIGHBOURS` largest of each row."""
    kept = min(NEIGHBOURS, dense.shape[1])
    columns = np.sort(np.argpartition(-dense, kept - 1, axis=1)[:, :kept], axis=1)
    values = np.take_along_axis(dense, columns, axis=1)
    positive = values > 0
    indptr = np.concatenate([[0], np.cumsum(positive.sum(axis=1))]).astype(np.int32)
    return csr_array((values[positive], columns[positive].astype(np.int32), indptr), shape=dense.shape)


def _spread(matrix: Matrix, numbers: npt.NDArray[np.int64], size: int) -> Matrix:
    """Move a matrix over some items to the numbers these have among all."""
    counts = np.zeros(size, np.int32)
    counts[numbers] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return csr_array((matrix.data, numbers[matrix.indices].astype(np.int32), indptr), shape=(size, size))
