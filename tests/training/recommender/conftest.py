"""One small shop, described once for all tests of the recommender."""

from __future__ import annotations

import pytest

from tests.training.recommender.logs import monday, shop_log
from training.recommender.bench import Log
from training.recommender.index import ItemIndex
from training.recommender.states import UserStates

WEEK_NUMBER = 12


@pytest.fixture(scope="session")
def shop() -> Log:
    return Log(shop_log())


@pytest.fixture(scope="session")
def inputs(shop: Log) -> tuple[UserStates, ItemIndex]:
    """The customers of week 12 and the catalogue as of its Monday."""
    return shop.inputs(monday(WEEK_NUMBER))


@pytest.fixture(scope="session")
def states(inputs: tuple[UserStates, ItemIndex]) -> UserStates:
    return inputs[0]


@pytest.fixture(scope="session")
def index(inputs: tuple[UserStates, ItemIndex]) -> ItemIndex:
    return inputs[1]
