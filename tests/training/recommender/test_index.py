"""The item index: repeatable, free of the future, and stored without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from ingest.errors import ArtefactError
from tests.training.recommender.logs import monday, shop_log
from training.recommender.bench import Log
from training.recommender.index import ITEM_FEATURES, ItemIndex, load_index, save_index


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


def test_an_index_of_other_features_is_refused(
    index: ItemIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read by their place: another order would be taken for these."""
    save_index(index, tmp_path / "index.npz")
    monkeypatch.setattr("training.recommender.index.ITEM_FEATURES", ITEM_FEATURES[::-1])

    with pytest.raises(ArtefactError, match="not those of this version"):
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


def test_demand_is_read_from_similar_customers() -> None:
    """Lately readers bought the novel and cooks the pan: to one more reader the novel is worth more than the pan."""
    day = monday(10)
    past = [
        (user, item, day - pd.Timedelta(days=40))
        for user, item in (("r1", "book"), ("r2", "book"), ("c1", "knife"), ("c2", "knife"))
    ]
    lately = [
        (user, item, day - pd.Timedelta(days=2)) for user, item in (("r1", "novel"), ("c1", "pan"), ("c2", "pan"))
    ]
    log = pd.DataFrame([*past, *lately], columns=["user_id", "item_id", "event_time"])
    log = log.assign(event="purchase", quantity=1.0, price=1.0, item_text="", country="")
    index = Log(log).inputs(day)[1]
    reader = csr_array(np.eye(index.size, dtype=np.float32)[[index.number_of["book"]]])

    for recent in (index.peers_bought, index.peers_found):
        demand = (reader @ index.peers @ recent).toarray()[0]

        assert demand[index.number_of["novel"]] > demand[index.number_of["pan"]]
        assert index.popularity[index.number_of["pan"]] > index.popularity[index.number_of["novel"]]


def test_only_first_purchases_count_as_found() -> None:
    """What a peer bought again is demand, not discovery."""
    day = monday(10)
    bought = [("u", "tea", 40), ("u", "tea", 2), ("u", "cup", 2)]
    log = pd.DataFrame(
        [(u, i, day - pd.Timedelta(days=d)) for u, i, d in bought], columns=["user_id", "item_id", "event_time"]
    )
    log = log.assign(event="purchase", quantity=1.0, price=1.0, item_text="", country="")
    index = Log(log).inputs(day)[1]
    tea, cup = index.number_of["tea"], index.number_of["cup"]

    bought_now, found_now = index.peers_bought.toarray()[0], index.peers_found.toarray()[0]

    assert bought_now[tea] > bought_now[cup] == found_now[cup] > found_now[tea] > 0
