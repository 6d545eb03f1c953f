"""Examples: what was bought, a repeatable sample of what was not, and safe storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest.errors import ArtefactError
from training.recommender import examples as module
from training.recommender.bench import Log
from training.recommender.candidates import find_candidates
from training.recommender.examples import build_examples, load_examples, save_examples, truth_matrix
from training.recommender.index import ItemIndex
from training.recommender.states import UserStates


def test_every_customer_gives_the_same_share(
    shop: Log, states: UserStates, index: ItemIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All purchases among the candidates up to the bound, and the given number of other items for each, of one and all."""
    monkeypatch.setattr(module, "PURCHASES_PER_CUSTOMER", 3)
    week = shop.week(index.as_of)
    candidates = find_candidates(states, index)
    bought = truth_matrix(states, index, week)[candidates.users, candidates.items]
    there = np.bincount(candidates.users[bought], minlength=states.size)
    left = np.bincount(candidates.users[~bought], minlength=states.size)

    examples = build_examples(states, index, week, seed=0, negatives_per_positive=2)

    given = np.bincount(examples.users[examples.bought], minlength=states.size)
    beside = np.bincount(examples.users[~examples.bought], minlength=states.size)
    assert given.tolist() == np.minimum(there, 3).tolist()
    assert there.max() > 3
    assert beside.tolist() == np.minimum(left, 2 * given).tolist()


def test_the_sample_repeats_with_its_seed(shop: Log, states: UserStates, index: ItemIndex) -> None:
    """And differs with another."""
    week = shop.week(index.as_of)

    first, again, other = (build_examples(states, index, week, seed=seed).features for seed in (0, 0, 1))

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_week_without_customers_gives_no_examples(shop: Log, states: UserStates, index: ItemIndex) -> None:
    """Shops close over Christmas."""
    nobody = next(states.batches(1))
    nobody = UserStates(
        nobody.user_ids[:0], nobody.features[:0], nobody.indptr[:1], nobody.items[:0], nobody.history[:0]
    )

    assert build_examples(nobody, index, shop.week(index.as_of)[:0], seed=0).bought.size == 0


def test_stored_examples_come_back_and_others_are_refused(
    shop: Log, states: UserStates, index: ItemIndex, tmp_path: Path
) -> None:
    """A cache of another version is no cache."""
    examples = build_examples(states, index, shop.week(index.as_of), seed=0)
    save_examples(examples, tmp_path / "week.npz")
    np.savez(tmp_path / "old.npz", names=np.array(["other"]))

    assert load_examples(tmp_path / "week.npz").features.tobytes() == examples.features.tobytes()
    with pytest.raises(ArtefactError, match="not those of this version"):
        load_examples(tmp_path / "old.npz")
