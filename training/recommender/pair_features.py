"""Pair features: the one function that describes customer-item pairs, called by training, batch scoring and serving alike."""

import numpy as np

from training.recommender.candidates import PAIR_SOURCES, Candidates
from training.recommender.index import ABSENT, ITEM_FEATURES, FloatArray, ItemIndex
from training.recommender.states import HISTORY_FEATURES, USER_FEATURES, UserStates

RELATIONS = (
    "orders_per_chance", "days_over_gap", "price_over_usual", "quantity_over_usual",
    "trend_1w", "trend_4w", "restocked_1w", "restocked_4w", "discovered_1w", "discovered_4w",
)  # fmt: skip
FEATURES = (
    *(f"{source}_score" for source in PAIR_SOURCES),
    *(f"{source}_rank" for source in PAIR_SOURCES),
    *(name.replace("history_", "own_") for name in HISTORY_FEATURES),
    *RELATIONS,
    *USER_FEATURES,
    *ITEM_FEATURES,
)


def pair_features(states: UserStates, index: ItemIndex, candidates: Candidates) -> FloatArray:
    """Describe each candidate pair: pairs x len(FEATURES), float32; ABSENT where there is nothing to say."""
    own = np.full((len(candidates.items), len(HISTORY_FEATURES)), ABSENT)
    bought = candidates.history >= 0
    own[bought] = states.history[candidates.history[bought]]
    user = states.features[candidates.users]
    item = index.features[candidates.items]
    return np.concatenate([candidates.scores, candidates.ranks, own, _relations(own, user, item), user, item], axis=1)


def _relations(own: FloatArray, user: FloatArray, item: FloatArray) -> FloatArray:
    """Set the customer's figures against the item's: shares and ratios, which trees can only approximate by steps."""
    past = dict(zip(HISTORY_FEATURES, own.T, strict=True))
    who = dict(zip(USER_FEATURES, user.T, strict=True))
    what = dict(zip(ITEM_FEATURES, item.T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap_days = (past["history_days_since_first"] - past["history_days_since_last"]) / (past["history_orders"] - 1)
        columns = (
            past["history_orders"] / (past["history_orders_since_first"] + 1),
            past["history_days_since_last"] / gap_days,
            what["item_median_price"] / who["user_median_price"],
            what["item_median_quantity"] / who["user_median_quantity"],
            what["item_purchases_1w"] * 4 / what["item_purchases_4w"],
            what["item_purchases_4w"] * 6.5 / what["item_purchases_26w"],
            what["item_repeats_1w"] / (what["item_buyers"] + 5),  # 5: a handful of buyers is no rate yet
            what["item_repeats_4w"] / (what["item_buyers"] + 5),
            what["item_purchases_1w"] - what["item_repeats_1w"],
            what["item_purchases_4w"] - what["item_repeats_4w"],
        )
    stacked = np.stack(columns, axis=1)
    return np.where(np.isfinite(stacked) & (stacked >= 0), stacked, ABSENT)
