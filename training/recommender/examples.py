"""Examples: what customers bought in a week, beside what they could have bought, described as of the week's Monday."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ingest.errors import ArtefactError
from training.recommender.candidates import batch_size, find_candidates, place_within
from training.recommender.index import FloatArray, IntArray, ItemIndex
from training.recommender.pair_features import FEATURES, pair_features
from training.recommender.states import UserStates

# The same share of purchases from everyone, or trees spend their splits on who buys much, which orders nobody's list; and a bound, or
# wholesalers fill most rows. Rows without either lost .005 NDCG@10; a bound of 10 loses .001 (weeks 40 to 59).
PURCHASES_PER_CUSTOMER = 20
NEGATIVES_PER_POSITIVE = 4


@dataclass(frozen=True, eq=False)
class Examples:
    """One label week's training rows; immutable once the week is over, hence cached by week."""

    week: datetime
    users: IntArray  # the row's customer, by place in the week's states
    features: FloatArray  # rows x len(FEATURES)
    bought: npt.NDArray[np.bool_]


def build_examples(
    states: UserStates,
    index: ItemIndex,
    week_purchases: pd.DataFrame,
    *,
    seed: int,
    negatives_per_positive: int = NEGATIVES_PER_POSITIVE,
    dropped: frozenset[str] = frozenset(),
) -> Examples:
    """Describe a seeded sample, the same from everyone, of the week's purchases among the candidates and of what was left.

    `states` are the customers active in the week that starts at `index.as_of`, `week_purchases` their user_id and item_id.
    """
    rng = np.random.default_rng([seed, index.as_of.toordinal()])
    start = 0
    nobody = np.empty(0, np.int32)
    # A week may be empty: shops close over Christmas.
    parts = [(nobody, np.empty((0, len(FEATURES)), np.float32), np.empty(0, dtype=bool))]
    for batch in states.batches(batch_size(index)):
        candidates = find_candidates(batch, index, dropped=dropped)
        bought = truth_matrix(batch, index, week_purchases)[candidates.users, candidates.items]
        kept = _sample(candidates.users, bought, rng, negatives_per_positive)
        users = candidates.users[kept] + np.int32(start)
        parts.append((users, pair_features(batch, index, candidates)[kept], bought[kept]))
        start += batch.size
    users, features, bought = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Examples(index.as_of, users, features, bought)


def _sample(
    users: IntArray, bought: npt.NDArray[np.bool_], rng: np.random.Generator, negatives_per_positive: int
) -> npt.NDArray[np.bool_]:
    """Mark up to PURCHASES_PER_CUSTOMER purchases of each customer, and so many times as many of the rest."""
    place = place_within(users.astype(np.int64) * 2 + bought, rng.random(len(users)))
    purchases = np.minimum(np.bincount(users[bought], minlength=int(users.max(initial=0)) + 1), PURCHASES_PER_CUSTOMER)
    return place < purchases[users] * np.where(bought, 1, negatives_per_positive)


def truth_matrix(states: UserStates, index: ItemIndex, week_purchases: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Mark which items of the index each customer bought in the week: customers x items."""
    users = pd.Index(states.user_ids).get_indexer(pd.Index(week_purchases["user_id"].astype(object)))
    items = pd.Index(index.item_ids.astype(object)).get_indexer(pd.Index(week_purchases["item_id"].astype(object)))
    marked = np.zeros((states.size, index.size), dtype=bool)
    known = (users >= 0) & (items >= 0)
    marked[users[known], items[known]] = True
    return marked


def save_examples(examples: Examples, path: Path) -> None:
    """Write one week's examples as .npz, without pickle."""
    with path.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            week=np.array(examples.week.isoformat()),
            names=np.array(FEATURES),
            users=examples.users,
            features=examples.features,
            bought=examples.bought,
        )


def load_examples(path: Path) -> Examples:
    """Read what `save_examples` wrote; raises ArtefactError when it is missing or holds other features than today's."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if tuple(arrays["names"].tolist()) != FEATURES:
                raise ValueError("its features are not those of this version")
            week = datetime.fromisoformat(str(arrays["week"]))
            return Examples(week, arrays["users"], arrays["features"], arrays["bought"])
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(
            f"{path} cannot be used as training examples ({error}); delete it and run the week again"
        ) from error
