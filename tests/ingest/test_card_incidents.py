"""Each incident is data about one thing that is wrong: it changes what it says, as far as it is strong, and nothing else."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from ingest.card_incidents import (
    INCIDENTS,
    PAIRS,
    SKEWS,
    Feed,
    duplicated_batch,
    incident,
    new_category,
    nulls,
    retyped_column,
    stuck_column,
    time_zone,
    unit_change,
)
from ingest.card_labels import ALL_WELL
from ingest.card_world import TRANSACTIONS, USUAL, CardSettings, CardWorld
from ingest.errors import SettingsError

DAY = CardWorld(CardSettings(seed=5, per_day=2_000)).day(40).transactions
ENDS = datetime(2025, 4, 1)

#: fault, and the only column that it changes
IN_A_COLUMN: list[tuple[Feed, str]] = [
    (unit_change, "amount"),
    (nulls, "distance_km"),
    (stuck_column, "amount"),
    (time_zone, "timestamp"),
    (retyped_column, "amount"),
    (new_category, "category"),
]


def delivered(fault: Feed, strength: float, *, draw: int = 1) -> pa.Table:
    """The day as a fault delivers it, rows by id."""
    return fault(DAY, strength, np.random.default_rng(draw)).sort_by("transaction_id")


def changed(fault: Feed, column: str, strength: float) -> set[int]:
    """The payments whose value of a column is not what was paid."""
    found = delivered(fault, strength)
    rows = zip(found["transaction_id"].to_pylist(), found[column].to_pylist(), DAY[column].to_pylist(), strict=True)
    return {number for number, now, was in rows if now != was and str(now) != str(was)}


@pytest.mark.parametrize(("fault", "column"), IN_A_COLUMN)
def test_a_fault_of_the_feed_is_in_its_column_only(fault: Feed, column: str) -> None:
    """The same payments are there, and all else about them is as it was."""
    found = delivered(fault, 1.0)
    assert found.drop_columns([column]).equals(DAY.drop_columns([column]))
    assert not found[column].equals(DAY[column])


@pytest.mark.parametrize(("fault", "column"), IN_A_COLUMN)
def test_a_weaker_fault_hits_some_of_those_that_a_stronger_one_hits(fault: Feed, column: str) -> None:
    """Its acquirers are among the stronger one's, and so are its payments."""
    weak, strong = changed(fault, column, 0.25), changed(fault, column, 0.75)
    assert weak < strong
    assert len(weak) == pytest.approx(len(strong) / 3, rel=0.25)


@pytest.mark.parametrize("fault", [*(fault for fault, _ in IN_A_COLUMN), duplicated_batch])
def test_the_same_draw_delivers_the_same(fault: Feed) -> None:
    """Nothing but the generator decides."""
    assert delivered(fault, 0.5).equals(delivered(fault, 0.5))


def test_amounts_in_cents_are_a_hundred_times_as_large() -> None:
    """Of every acquirer where the fault is strong, of none where it has no strength."""
    found = delivered(unit_change, 1.0)["amount"].to_numpy()
    assert found == pytest.approx(DAY["amount"].to_numpy() * 100)
    assert delivered(unit_change, 0.0).equals(DAY)


def test_a_stuck_acquirer_sends_one_amount() -> None:
    """Forty-nine, whatever was paid."""
    assert set(delivered(stuck_column, 1.0)["amount"].to_pylist()) == {49.0}


def test_missing_distances_are_null_and_as_many_as_the_fault_is_strong() -> None:
    """A half of them at a half."""
    assert delivered(nulls, 0.5)["distance_km"].null_count / len(DAY) == pytest.approx(0.5, abs=0.04)


def test_a_clock_that_is_ahead_stays_on_its_day() -> None:
    """Five hours later, around midnight to the morning of the same date."""
    found = delivered(time_zone, 1.0)["timestamp"].to_numpy()
    was = DAY["timestamp"].to_numpy()
    assert set((found - was).astype("timedelta64[h]").astype(int)) == {5, -19}
    assert (found.astype("datetime64[D]") == was.astype("datetime64[D]")).all()


def test_a_file_whose_clock_is_ahead_is_in_order_of_what_it_says() -> None:
    """As the feed would write it."""
    moments = time_zone(DAY, 0.5, np.random.default_rng(1))["timestamp"].to_numpy()
    assert (np.diff(moments) >= np.timedelta64(0)).all()


def test_amounts_as_text_have_a_comma_for_some_acquirers() -> None:
    """All of them are text, and those without a comma say what was paid."""
    found = delivered(retyped_column, 0.5)["amount"]
    assert found.type == pa.string()
    assert [float(text.replace(",", ".")) for text in found.to_pylist()] == DAY["amount"].to_pylist()
    assert sum("," in text for text in found.to_pylist()) / len(DAY) == pytest.approx(0.5, abs=0.06)


def test_a_new_category_is_one_that_nobody_announced() -> None:
    """Vouchers, at up to three terminals in ten."""
    found = delivered(new_category, 1.0)["category"].to_pylist()
    assert set(found) - set(DAY["category"].to_pylist()) == {"vouchers"}
    assert found.count("vouchers") / len(DAY) == pytest.approx(0.3, abs=0.06)


def test_what_is_delivered_twice_differs_in_its_id_only() -> None:
    """Everything comes once as it was, and half of it again."""
    found = delivered(duplicated_batch, 0.5)
    ids = found["transaction_id"].to_numpy()
    again = ~np.isin(ids, DAY["transaction_id"].to_numpy())
    assert found.filter(pa.array(~again)).equals(DAY)
    assert again.sum() / len(DAY) == pytest.approx(0.5, abs=0.04)
    twice = DAY.filter(pa.array(np.isin(DAY["transaction_id"].to_numpy(), ids[again] - 500_000)))
    copies = found.filter(pa.array(again)).drop_columns(["transaction_id"])
    assert copies.equals(twice.drop_columns(["transaction_id"]))


@pytest.mark.parametrize("cause", list(INCIDENTS))
def test_every_incident_is_the_same_for_the_same_seed_and_bears_its_name(cause: str) -> None:
    """It is data: two of them are equal."""
    made = incident(cause, 0.5, seed=4, ends=ENDS)
    assert made == incident(cause, 0.5, seed=4, ends=ENDS)
    assert (made.cause, made.strength) == (cause, 0.5)


#: cause, and the only parts of the incident in which something is otherwise than usual
PARTS = [
    ("none", set()),
    ("good_release", {"release"}),
    ("festival", {"change"}),
    ("covariate_harmless", {"change"}),
    ("concept_new", {"change"}),
    ("prior_shift", {"change"}),
    ("label_flips", {"labels"}),
    ("missed_fraud", {"labels"}),
    ("biased_source", {"labels"}),
    ("label_delay", {"labels"}),
    ("skew", {"skew"}),
    ("bad_release", {"release"}),
    ("poisoned_labels", {"release"}),
    ("nulls", {"feed"}),
    ("time_zone", {"feed"}),
]


@pytest.mark.parametrize(("cause", "parts"), PARTS)
def test_an_incident_is_of_one_room(cause: str, parts: set[str]) -> None:
    """What is wrong with payments is not wrong with labels, features or releases as well."""
    made = incident(cause, 1.0, seed=0, ends=ENDS)
    usual = {"change": USUAL, "labels": ALL_WELL, "feed": (), "skew": None, "release": None}
    assert {name for name, value in usual.items() if getattr(made, name) != value} == parts


def test_nothing_is_otherwise_before_the_first_day() -> None:
    """The world changes on the day on which the incident begins."""
    world = incident("prior_shift", 1.0, seed=0, ends=ENDS).world(10)
    assert [world(day).fraud for day in (9, 10, 11)] == [1.0, 3.0, 3.0]


def test_the_feed_delivers_with_the_faults_of_the_incident() -> None:
    """As strong as the incident is; without a fault, as it was."""
    usual = incident("none", 1.0, seed=0, ends=ENDS).delivered(DAY, np.random.default_rng(1))
    found = incident("nulls", 0.5, seed=0, ends=ENDS).delivered(DAY, np.random.default_rng(1))
    assert usual.equals(DAY)
    assert usual.schema == TRANSACTIONS
    assert found.sort_by("transaction_id").equals(delivered(nulls, 0.5))


def test_delayed_labels_are_held_until_the_outage_ends() -> None:
    """And other faults hold nothing back."""
    assert incident("label_delay", 0.5, seed=0, ends=ENDS).labels.held_until == ENDS
    assert incident("missed_fraud", 0.5, seed=0, ends=ENDS).labels.held_until is None


@pytest.mark.parametrize("cause", ["label_flips", "missed_fraud", "biased_source", "label_delay"])
def test_a_weaker_fault_of_the_labels_is_less(cause: str) -> None:
    """In each share that it has."""
    weak, strong = (incident(cause, strength, seed=0, ends=ENDS).labels for strength in (0.25, 0.75))
    shares = [
        (getattr(weak, name), getattr(strong, name))
        for name in ("flipped", "missed", "biased", "held_back")
        if getattr(strong, name)
    ]
    assert len(shares) == 1
    assert all(0 < less < more <= 1 for less, more in shares)


def test_each_form_of_skew_is_rehearsed_by_some_seed() -> None:
    """Three seeds in a row are three forms."""
    assert {incident("skew", 1.0, seed=seed, ends=ENDS).skew for seed in range(3)} == set(SKEWS)


@pytest.mark.parametrize("seed", range(len(PAIRS)))
def test_two_at_once_has_the_parts_of_both(seed: int) -> None:
    """And of nothing else."""
    both = incident("two_at_once", 0.5, seed=seed, ends=ENDS)
    pair = [incident(name, 0.5, seed=seed, ends=ENDS) for name in PAIRS[seed]]
    assert both.cause == "two_at_once"
    for part, usual in (("change", USUAL), ("labels", ALL_WELL), ("feed", ()), ("skew", None), ("release", None)):
        expected = [getattr(one, part) for one in pair if getattr(one, part) != usual] or [usual]
        assert [getattr(both, part)] == expected


def test_any_two_of_different_rooms_are_rehearsed_together() -> None:
    """By their names."""
    both = incident("covariate_harmful+missed_fraud", 0.5, seed=0, ends=ENDS)
    assert both.cause == "two_at_once"
    assert both.change == incident("covariate_harmful", 0.5, seed=0, ends=ENDS).change
    assert both.labels == incident("missed_fraud", 0.5, seed=0, ends=ENDS).labels


@pytest.mark.parametrize(
    ("pair", "room"),
    [("label_flips+missed_fraud", "labels"), ("nulls+unit_change", "feed"), ("bad_release+poisoned_labels", "release"),
     ("concept_new+prior_shift", "change"), ("skew+skew", "skew")],
)  # fmt: skip
def test_two_of_one_room_are_not(pair: str, room: str) -> None:
    """One would take the other's place, and the drill would rehearse half of what it says."""
    with pytest.raises(SettingsError, match=rf"{pair.replace('+', ' and ')} are of one room \({room}\)"):
        incident(pair, 0.5, seed=0, ends=ENDS)


def test_an_unknown_cause_names_those_that_there_are() -> None:
    """So that the next attempt is right."""
    with pytest.raises(SettingsError, match=r"no drill for 'flood'.*missed_fraud.*nulls.*two_at_once"):
        incident("flood", 0.5, seed=0, ends=ENDS)


@pytest.mark.parametrize("strength", [-0.5, 0.0, 1.01, float("nan")])
@pytest.mark.parametrize("cause", ["nulls", "two_at_once"])
def test_an_unknown_strength_names_those_that_there_are(cause: str, strength: float) -> None:
    """Weak, mid and strong, or a number above 0 and up to 1."""
    with pytest.raises(SettingsError, match=rf"strength of {strength:g} .*weak, mid, strong.*above 0 and up to 1"):
        incident(cause, strength, seed=0, ends=ENDS)
