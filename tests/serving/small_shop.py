"""A small shop as a worker holds it: its index, its customers' rows, and models that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np

from feature_repo.feast_store import OnlineRow
from serving.feature_reader import UserFeatures
from serving.release import Traffic
from serving.slots import Slots
from tests.training.recommender.logs import monday, shop_log
from training.recommender.bench import Log
from training.recommender.index import ABSENT, FloatArray, ItemIndex
from training.recommender.pair_features import FEATURES
from training.recommender.states import HISTORY_FEATURES, USER_FEATURES, UserStates

WEEK_NUMBER = 12
ALL_TO_CHAMPION = Traffic()
SALES, RESTOCK = FEATURES.index("item_purchases_4w"), FEATURES.index("repeat_score")


@cache
def shop(customers: int = 60, items: int = 80, seed: int = 0) -> tuple[UserStates, ItemIndex]:
    """The customers of week 12 and the catalogue as of its Monday."""
    return Log(shop_log(customers=customers, items=items, seed=seed)).inputs(monday(WEEK_NUMBER))


def row_of(states: UserStates, index: ItemIndex, number: int, available_at: datetime | None = None) -> OnlineRow:
    """What the online store holds of a customer, by default since the index's Monday."""
    mine = slice(states.indptr[number], states.indptr[number + 1])
    user = {n: None if v == ABSENT else v for n, v in zip(USER_FEATURES, states.features[number].tolist(), strict=True)}
    history = dict(zip(HISTORY_FEATURES, states.history[mine].T.astype(np.float64), strict=True))
    items = np.array(index.item_ids[states.items[mine]].tolist(), object)
    return OnlineRow({**user, "history_item_ids": items, **history}, available_at or index.as_of)


@cache
def rows() -> dict[str, OnlineRow]:
    """Every customer's row, by id."""
    states, index = shop()
    return {user_id: row_of(states, index, number) for number, user_id in enumerate(states.user_ids)}


def by_sales(features: FloatArray) -> FloatArray:
    return (features[:, SALES] + 1) / 1000


def by_habit(features: FloatArray) -> FloatArray:
    return (features[:, RESTOCK] + 1) / 1000


def fails(features: FloatArray) -> FloatArray:
    raise RuntimeError("no trees")


@dataclass
class FakeModel:
    """Scores as it is told; what it scores is the same in both lists, but for what was bought before."""

    version: str
    scores: Callable[[FloatArray], FloatArray] = by_sales

    def score(self, features: FloatArray, scope: str) -> FloatArray:
        return self.scores(features)


def slots(models: Mapping[str, FakeModel], traffic: Traffic = ALL_TO_CHAMPION, index: ItemIndex | None = None) -> Slots:
    return Slots(1, index or shop()[1], dict(models), traffic)  # type: ignore[arg-type]


class FakeReader:
    """Knows the rows of the shop's customers, and remembers how many were asked for at once."""

    def __init__(self) -> None:
        self.rows = rows()
        self.batches: list[int] = []

    def read(self, user_ids: list[str]) -> list[UserFeatures]:
        self.batches.append(len(user_ids))
        return [UserFeatures(self.rows.get(user_id), "fresh") for user_id in user_ids]


def only_plain(value: Any) -> bool:
    """Whether it is made of what JSON knows: NumPy's numbers and texts would pass for Python's when they are written."""
    if type(value) is dict:
        return all(type(key) is str and only_plain(held) for key, held in value.items())
    if type(value) is list:
        return all(map(only_plain, value))
    return type(value) in {str, int, float, bool, type(None)}
