"""The item index: repeatable, free of the future, and stored without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ingest.errors import ArtefactError
from tests.training.recommender.logs import monday, shop_log
from training.recommender.bench import Log
from training.recommender.index import ItemIndex, load_index, save_index


def stored(index: ItemIndex, path: Path) -> bytes:
    save_index(index, path)
    return path.read_bytes()


def test_the_same_purchases_give_the_same_bytes(index: ItemIndex, tmp_path: Path) -> None:
    """In whatever order the rows arrive."""
    shuffled = shop_log().sample(frac=1, random_state=1)

    again = Log(shuffled).inputs(index.as_of)[1]

    assert stored(index, tmp_path / "a.npz") == stored(again, tmp_path / "b.npz")


def test_later_purchases_change_nothing(index: ItemIndex, tmp_path: Path) -> None:
    """The index of a Monday knows nothing of the week that follows."""
    log = shop_log()
    past = log[log["event_time"] < index.as_of]

    again = Log(past).inputs(index.as_of)[1]

    assert stored(index, tmp_path / "a.npz") == stored(again, tmp_path / "b.npz")


def test_a_stored_index_comes_back_whole(index: ItemIndex, tmp_path: Path) -> None:
    """Ids, features and similarities survive, with pickle forbidden."""
    save_index(index, tmp_path / "index.npz")

    back = load_index(tmp_path / "index.npz")

    assert back.as_of == index.as_of
    assert back.number_of == index.number_of
    assert np.array_equal(back.features, index.features)
    assert np.array_equal(back.ease.toarray(), index.ease.toarray())


def test_another_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """What to do next is in the message."""
    (tmp_path / "index.npz").write_bytes(b"not an archive")

    with pytest.raises(ArtefactError, match="rebuild it"):
        load_index(tmp_path / "index.npz")


def test_similar_names_are_neighbours(index: ItemIndex) -> None:
    """Every neighbour by text of a red mug is another red mug first of all."""
    red = index.number_of["i0"]

    nearest = int(index.text[[red]].toarray().argmax())

    assert int(index.item_ids[nearest][1:]) % 4 == 0


@pytest.mark.parametrize("column", ["item_text", "price", "country"])
def test_a_log_may_lack_what_describes_items(column: str) -> None:
    """Text, price and country are luxuries."""
    log = shop_log(customers=10, items=12, weeks=6)
    log[column] = pd.Series(None, index=log.index, dtype="float64" if column == "price" else "string")

    states, index = Log(log).inputs(monday(5))

    assert index.size == 12
    assert np.isfinite(index.features).all()
    assert np.isfinite(states.features).all()
