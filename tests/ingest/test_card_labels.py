"""Labels come late, from several sources, and each fault of a source shows where it should and nowhere else."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ingest.card_labels import ALL_WELL, LABELS, SOURCES, LabelFault, LabelSettings, explored, labels_of
from ingest.card_world import CardSettings, CardWorld

WORLD = CardWorld(CardSettings(seed=5, per_day=2_000, fraud_share=0.02))
SETTINGS = LabelSettings()
DAYS = range(60)
MIDNIGHT = datetime(2025, 1, 7)  # the end of the first day


def labels(
    fault: LabelFault = ALL_WELL, *, blocked_above: float = 2.0, settings: LabelSettings = SETTINGS, days: range = DAYS
) -> pd.DataFrame:
    """The labels of some days whose scores tell fraud well, with the truth and the score beside them."""
    found = []
    for number in days:
        day, rng = WORLD.day(number), np.random.default_rng([1, number])
        fraud = day.truth["is_fraud"].to_numpy()
        scores = np.clip(rng.normal(np.where(fraud, 0.7, 0.2), 0.15), 0, 1)
        blocked, _ = explored(scores, blocked_above, settings, rng)
        said = labels_of(day, scores, blocked, settings, rng, fault=fault)
        assert said.schema == LABELS
        truth = pd.DataFrame(
            {
                "transaction_id": day.truth["transaction_id"],
                "truth": fraud,
                "score": scores,
                "blocked": blocked,
                "day_end": datetime.combine(WORLD.date_of(number), datetime.min.time()) + timedelta(days=1),
            }
        )
        found.append(said.to_pandas().merge(truth, on="transaction_id", validate="m:1"))
    return pd.concat(found, ignore_index=True)


def by(source: str, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["source"] == source]


USUAL = labels()


def test_the_same_draw_gives_the_same_labels() -> None:
    """Nothing but the generator decides."""
    pd.testing.assert_frame_equal(labels(), USUAL)


def test_no_label_arrives_before_the_day_is_over() -> None:
    """Chargebacks take two days at least and a week on average, analysts less than two days."""
    lag = (USUAL["arrived_at"] - USUAL["day_end"]) / pd.Timedelta(days=1)
    chargebacks, analysts = lag[USUAL["source"] == "chargeback"], lag[USUAL["source"] != "chargeback"]
    assert chargebacks.min() >= 2
    assert chargebacks.mean() == pytest.approx(7, abs=0.7)
    assert analysts.between(0.4, 1.7).all()


def test_every_day_is_reviewed_up_to_the_capacity_and_from_the_top() -> None:
    """Sixty reviews, of which one in seven is the second look at the same transaction."""
    analysts = USUAL[USUAL["source"].isin(["analyst_a", "analyst_b"])]
    assert (analysts.groupby("day_end").size() == SETTINGS.reviews_a_day).all()
    looked_at = analysts.drop_duplicates("transaction_id")
    assert 1 - len(looked_at) / len(analysts) == pytest.approx(0.13, abs=0.01)
    lowest = looked_at.groupby("day_end")["score"].min()
    assert lowest.min() > 0.3


def test_analysts_are_nearly_always_right_and_chargebacks_nearly_always_fraud() -> None:
    """As often as the settings say."""
    for source in ("analyst_a", "analyst_b"):
        rows = by(source, USUAL)
        assert rows.loc[rows["truth"], "is_fraud"].mean() == pytest.approx(SETTINGS.analyst_finds, abs=0.05)
        assert rows.loc[~rows["truth"], "is_fraud"].mean() == pytest.approx(1 - SETTINGS.analyst_clears, abs=0.03)
    assert by("chargeback", USUAL)["truth"].mean() > 0.95
    assert by("chargeback", USUAL)["is_fraud"].all()


def test_what_is_blocked_is_never_charged_back_but_for_the_explored() -> None:
    """One in ten of those above the threshold is let through, and only these can be charged back."""
    rows = labels(blocked_above=0.6)
    chargebacks = by("chargeback", rows)
    assert not chargebacks["blocked"].any()
    let_through = (chargebacks["score"] >= 0.6).sum()
    assert 0 < let_through < 0.25 * len(by("chargeback", USUAL))


#: fault, and by source: the share of frauds that are called good, and of good ones that are called fraud
FAULTS = [
    (ALL_WELL, {"analyst_a": (0.05, 0.02), "analyst_b": (0.05, 0.02)}),
    (LabelFault(flipped=0.2), {"analyst_a": (0.23, 0.21), "analyst_b": (0.23, 0.21)}),
    (LabelFault(biased=0.6), {"analyst_a": (0.05, 0.02), "analyst_b": (0.62, 0.02)}),
    (LabelFault(missed=0.4), {"analyst_a": (0.05, 0.02), "analyst_b": (0.05, 0.02)}),
]


@pytest.mark.parametrize(("fault", "wrong"), FAULTS)
def test_a_fault_is_in_its_source_only(fault: LabelFault, wrong: dict[str, tuple[float, float]]) -> None:
    """Flips hit both teams, a bias the frauds of one of them."""
    rows = labels(fault)
    for source, (missed, accused) in wrong.items():
        of_source = by(source, rows)
        assert 1 - of_source.loc[of_source["truth"], "is_fraud"].mean() == pytest.approx(missed, abs=0.06)
        assert of_source.loc[~of_source["truth"], "is_fraud"].mean() == pytest.approx(accused, abs=0.04)


def test_missed_fraud_is_missing_among_chargebacks() -> None:
    """Two fifths of those that would have come do not."""
    frauds = [by("chargeback", rows)["truth"].sum() for rows in (USUAL, labels(LabelFault(missed=0.4)))]
    assert frauds[1] / frauds[0] == pytest.approx(0.6, abs=0.08)


def test_an_outage_holds_labels_back_and_loses_none() -> None:
    """They arrive when it is over, and what would have arrived later is not touched."""
    until, days = MIDNIGHT + timedelta(days=23), range(20)
    held, usual = labels(LabelFault(held_back=0.6, held_until=until), days=days), labels(days=days)
    assert len(held) == len(usual)
    in_time = (usual["arrived_at"] <= until).sum()
    assert (held["arrived_at"] == until).sum() / in_time == pytest.approx(0.6, abs=0.05)
    assert (held["arrived_at"] > until).sum() == len(usual) - in_time


def test_sources_are_those_that_are_declared() -> None:
    """The audit's labels are drawn by whoever runs the audit, for its sample depends on what is known by then."""
    assert set(USUAL["source"]) == set(SOURCES) - {"audit"}
