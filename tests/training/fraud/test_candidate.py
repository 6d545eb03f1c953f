"""What a candidate learns and is judged by is read from the workspace's days, as they were known at a midnight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.training.fraud.small_days import FIRST, SECOND, altered, begun_anew, midnight, missing, small_days
from training.fraud.candidate import learnable
from training.fraud.candidate_evidence import Contest, candidate_evidence
from training.fraud.card_days import CardDays
from training.fraud.day_split import days_before, split_to_fit
from training.fraud.day_tables import festive_days, read_audits, read_payments, whole_days
from training.fraud.examples import Examples
from training.fraud.gates import FraudGatePolicy, decide, judge
from training.fraud.model import FraudModel
from training.fraud.orders import Orders
from training.vocabulary import Evidence

AS_OF = midnight(FIRST)
SPLIT = split_to_fit(AS_OF)
LATELY = days_before(AS_OF, 21)
"""Days of which many labels have not come yet."""


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> CardDays:
    return begun_anew(small_days(tmp_path_factory))


@pytest.fixture(scope="module")
def sound(cards: CardDays) -> Examples:
    return learned(cards)


def learned(cards: CardDays, untrusted: str = "") -> Examples:
    return learnable(cards, SPLIT.learned, AS_OF, frozenset(untrusted.split()))


def lately(cards: CardDays, untrusted: str = "") -> list[bytes]:
    rows = learnable(cards, LATELY, AS_OF, frozenset(untrusted.split()))
    return [column.tobytes() for column in rows]


def test_labels_that_arrive_later_change_nothing_that_is_learned(cards: CardDays) -> None:
    """Not a bit, whatever they say; nor do audits that are not back."""

    def otherwise(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(is_fraud=rows["is_fraud"] ^ (rows["arrived_at"] >= AS_OF))

    before, later = lately(cards), days_before(midnight(SECOND), SECOND - FIRST)
    with (
        altered(cards, "labels", LATELY, otherwise),
        altered(cards, "audits", LATELY, otherwise),
        missing(cards, "labels", later),
        missing(cards, "audits", later),
    ):
        assert lately(cards) == before
    with altered(cards, "labels", LATELY, lambda rows: rows.assign(arrived_at=AS_OF - pd.Timedelta(hours=1))):
        assert lately(cards) != before


def test_a_quarantined_source_changes_nothing_that_is_learned(cards: CardDays) -> None:
    """Not a bit, whatever it says; trusted, it would."""

    def otherwise(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(is_fraud=rows["is_fraud"] ^ (rows["source"] == "analyst_b"))

    trusted, untrusted = lately(cards), lately(cards, "analyst_b")
    with altered(cards, "labels", LATELY, otherwise):
        assert lately(cards, "analyst_b") == untrusted
        assert lately(cards) != trusted


def test_the_audits_random_part_is_not_learned(cards: CardDays, sound: Examples) -> None:
    """Nor is what was drawn and is not back yet; what was audited for another reason is learned by its truth."""
    audits = read_audits(cards, days_before(AS_OF, 84))
    random, others = (audits.loc[audits["reason"] == reason, "transaction_id"] for reason in ("random", "accused"))
    assert np.isin(random, read_payments(cards, SPLIT.learned, "features_offline").ids).any()
    assert not np.isin(random, sound.ids).any()
    assert np.isin(others, sound.ids).any()
    with altered(cards, "audits", days_before(AS_OF, 84), lambda rows: rows.assign(arrived_at=AS_OF)):
        assert not np.isin(random, learned(cards).ids).any()


def test_a_day_without_one_of_its_tables_is_no_day(cards: CardDays) -> None:
    """Without labels it would look as if there had been no fraud."""
    with missing(cards, "labels", SPLIT.learned[:1]):
        assert whole_days(cards, SPLIT.learned) == SPLIT.learned[1:]
    assert whole_days(cards, SPLIT.learned) == SPLIT.learned


def test_a_payment_that_was_delivered_twice_is_one(cards: CardDays) -> None:
    """With what was delivered first; a second row without its labels would teach that its fraud is good."""
    day = SPLIT.learned[:1]
    before = read_payments(cards, day, "features_offline")

    def twice(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, rows.assign(amount=0.0)])

    with altered(cards, "features_offline", day, twice):
        again = read_payments(cards, day, "features_offline")
    assert np.array_equal(again.ids, before.ids)
    assert np.array_equal(again.features, before.features, equal_nan=True)


def test_the_calendar_names_festive_days(cards: CardDays) -> None:
    """From the first to the last of each event; without a calendar there is none."""
    calendar, (first, last) = cards.tables / "calendar.parquet", (SPLIT.learned[3], SPLIT.learned[5])
    assert festive_days(cards) == frozenset()
    pd.DataFrame({"first_day": [first], "last_day": [last], "name": ["fair"]}).to_parquet(calendar)
    try:
        assert festive_days(cards) == frozenset(SPLIT.learned[3:6])
    finally:
        calendar.unlink()


@pytest.fixture(scope="module")
def first(sound: Examples) -> Contest:
    """A sound candidate where there is no champion."""
    return contest(sound, sound.fitted(seed=0))


def contest(rows: Examples, candidate: FraudModel, champion: FraudModel | None = None) -> Contest:
    return Contest(
        candidate=candidate,
        champion=champion,
        learned=rows.ids,
        judged_days=SPLIT.judged,
        untrusted=(),
    )


def outcome(evidence: dict[str, Evidence], *, first_model: bool = False) -> tuple[str, set[str]]:
    gates = judge(evidence, FraudGatePolicy(), first_model=first_model)
    decision = decide(gates, at=AS_OF.isoformat(), version="2", champion="1")
    return decision.kind, {gate.gate for gate in gates if not gate.passed}


def test_a_candidate_that_missed_half_of_the_fraud_is_refused(cards: CardDays, sound: Examples, first: Contest) -> None:
    """Beside a champion that did not; its probabilities promise too little fraud."""
    half = sound._replace(fraud=sound.fraud & (np.cumsum(sound.fraud) % 2 == 0))
    kind, refused = outcome(
        candidate_evidence(cards, AS_OF, contest(half, half.fitted(seed=0), first.candidate), Orders())
    )
    assert kind == "refusal"
    assert "calibration" in refused


def test_the_champions_scores_are_those_of_what_was_served(cards: CardDays, sound: Examples, first: Contest) -> None:
    """Against itself a model neither gains nor loses, whatever other scores the tables hold."""
    itself = contest(sound, first.candidate, first.candidate)
    with altered(cards, "scores", SPLIT.judged, lambda rows: rows.assign(score=0.0)):
        found = candidate_evidence(cards, AS_OF, itself, Orders())
    assert found["average_precision_diff_vs:champion"].value == 0.0
    assert found["loss_over:champion"].value == 0.0
    assert outcome(found) == ("promotion", set())


@pytest.mark.parametrize("table", ["features_online", "labels", "scores"])
def test_days_that_are_not_whole_refuse(cards: CardDays, first: Contest, table: str) -> None:
    """Of what is missing nothing is assumed."""
    with missing(cards, table, SPLIT.judged):
        kind, gates = outcome(candidate_evidence(cards, AS_OF, first, Orders()), first_model=True)
    assert kind == "refusal"
    assert "sample_size" in gates


def test_without_audits_nothing_is_verified(cards: CardDays, first: Contest) -> None:
    """No source was checked by gold, and nobody is asked to overlook it."""
    with missing(cards, "audits", days_before(AS_OF, 84)):
        kind, gates = outcome(candidate_evidence(cards, AS_OF, first, Orders()), first_model=True)
    assert kind == "refusal"
    assert {"label_sources", "gold_sample"} <= gates


@pytest.mark.parametrize(
    ("orders", "refused"),
    [
        (Orders(training_frozen=True), "training_allowed"),
        (Orders(quarantined=frozenset({"analyst_a"})), "label_sources"),
    ],
)
def test_what_the_watch_ordered_since_the_fit_refuses(
    cards: CardDays, first: Contest, orders: Orders, refused: str
) -> None:
    """A candidate that learned from what is now in doubt does not go live."""
    kind, gates = outcome(candidate_evidence(cards, AS_OF, first, orders), first_model=True)
    assert kind == "refusal"
    assert refused in gates


def test_what_was_learned_cannot_judge(cards: CardDays, first: Contest) -> None:
    """Of the judged days, or of the audit's random part."""
    audits = read_audits(cards, days_before(AS_OF, 84))
    random = audits.loc[audits["reason"] == "random", "transaction_id"].to_numpy(np.int64)
    greedy = replace(first, learned=np.concatenate([first.learned, random[:1]]))
    kind, gates = outcome(candidate_evidence(cards, AS_OF, greedy, Orders()), first_model=True)
    assert (kind, gates) == ("refusal", {"held_out"})
