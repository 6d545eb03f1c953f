"""Evidence of a day is a function of what had arrived by its midnight, and each fault shows in its own figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ingest.card_incidents import (
    Feed,
    duplicated_batch,
    new_category,
    nulls,
    retyped_column,
    stuck_column,
    time_zone,
    unit_change,
)
from ingest.card_labels import LabelFault
from monitoring.fraud.batches import share_shifted
from monitoring.fraud.evidence import evidence_on
from monitoring.fraud.figures import Figures
from monitoring.fraud.label_sources import RISE_AGES, days_since_rise
from monitoring.fraud.ledger import Ledger
from monitoring.fraud.tables import Tables
from tests.monitoring.fraud.small_issuer import (
    AS_OF,
    IDS_A_DAY,
    RELEASED,
    date_of,
    epoch_day,
    known_on,
    midnight,
    relabelled,
    tables,
)


@cache
def usual(number: int = AS_OF) -> Figures:
    """The evidence of a day of the small issuer on which nothing is wrong."""
    return evidence_on(Ledger.of(tables()), epoch_day(number))


def differing(one: Figures, other: Figures) -> set[str]:
    """The figures that are not the same in both; what is no number is the same as what is no number."""
    return {name for name in one.keys() | other.keys() if repr(one.get(name)) != repr(other.get(name))}


def on(known: Tables, number: int) -> Figures:
    return evidence_on(Ledger.of(known), epoch_day(number))


#: Before a release, on its day, the day after it, when the next one is known to come, and after that one.
@pytest.mark.parametrize("number", [30, 57, 75, RELEASED["2"], RELEASED["2"] + 1, 94, 98])
def test_evidence_is_of_what_had_arrived(number: int) -> None:
    """What is delivered, scored, labelled, audited or released at a day's midnight or later changes nothing about it."""
    assert differing(usual(number), on(known_on(tables(), number), number)) == set()


def test_what_arrived_on_the_day_before_counts() -> None:
    """The cut would show: a day earlier it takes from the evidence."""
    missing = differing(usual(98), on(known_on(tables(), 97), 98))
    assert {"batch.volume", "score.alerts", "arrived.chargeback", "arrived.analyst_a"} <= missing


def test_a_later_contradiction_changes_nothing_about_the_days_before_it() -> None:
    """A chargeback that is taken back a week from now was one until then."""
    number = 80
    recent = tables().labels[tables().labels["arrived_at"].between(midnight(number - 7), midnight(number))]
    assert len(recent) > 50
    retracted = recent.assign(is_fraud=~recent["is_fraud"], arrived_at=midnight(number + 7))
    later = replace(tables(), labels=pd.concat([tables().labels, retracted], ignore_index=True))
    assert differing(usual(number), on(later, number)) == set()


def test_a_later_audit_of_the_same_payment_changes_nothing_about_the_days_before_it() -> None:
    """Whoever is drawn again next week was drawn for another reason this week."""
    number, audits = 82, tables().audits
    assert audits is not None
    lately = audits[audits["arrived_at"].between(midnight(number - 7), midnight(number - 1))]
    assert len(lately) == 80
    again = lately.assign(reason="random", arrived_at=midnight(number + 3))
    later = replace(tables(), audits=pd.concat([audits, again], ignore_index=True))
    assert differing(usual(number), on(later, number)) == set()


def test_a_queue_that_opens_later_changes_nothing_about_the_days_before_it() -> None:
    """Nobody waited for the labels of a team that was not there."""
    number = 80
    labels = tables().labels
    opened = labels[(labels["source"] == "analyst_a") & (labels["arrived_at"] >= midnight(number))]
    later = replace(tables(), labels=pd.concat([labels, opened.assign(source="analyst_c")], ignore_index=True))
    assert differing(usual(number), on(later, number)) == set()


#: fault, its figure, and what the figure is at least at half the strength
FAULTS: list[tuple[Feed, str, float]] = [
    (unit_change, "batch.scale", 0.05),
    (nulls, "batch.nulls", 0.4),
    (stuck_column, "batch.stuck", 0.4),
    (duplicated_batch, "batch.repeated", 0.25),
    (time_zone, "batch.clock", 0.3),
    (retyped_column, "batch.retyped_columns", 1.0),
    (new_category, "batch.new_category", 0.1),
]
#: What each figure stays below while nothing is wrong with what it looks at: what diagnosis takes for a fault.
LOW: Mapping[str, float] = {
    "batch.scale": 0.02,
    "batch.nulls": 0.02,
    "batch.stuck": 0.05,
    "batch.repeated": 0.01,
    "batch.clock": 0.1,
    "batch.retyped_columns": 1.0,
    "batch.missing_columns": 1.0,
    "batch.new_category": 0.01,
}


def delivered_with(fault: Feed, strength: float) -> Figures:
    """The evidence when the last three days were delivered with a fault."""
    batches = dict(tables().batches)
    for number in range(AS_OF - 3, AS_OF):
        day = date_of(number)
        batches[day] = fault(batches[day], strength, np.random.default_rng([5, number]))
    return on(replace(tables(), batches=batches), AS_OF)


def test_no_batch_figure_is_high_while_nothing_is_wrong() -> None:
    """Not one of them comes near to what is taken for a fault."""
    assert {name for name, limit in LOW.items() if usual()[name].value >= limit / 2} == set()


@pytest.mark.parametrize(("fault", "figure", "least"), FAULTS)
def test_a_fault_of_the_feed_raises_its_own_figure_and_no_other(fault: Feed, figure: str, least: float) -> None:
    """The figures of the other faults stay below what is taken for one."""
    found = delivered_with(fault, 0.5)
    assert found[figure].value >= least
    assert {name for name, limit in LOW.items() if found[name].value >= limit} == {figure}


HOURS = 1 + np.sin(np.arange(24) / 24 * 2 * np.pi) * 0.8
USUAL_HOURS = HOURS / HOURS.sum()


def test_no_clock_is_off_by_chance() -> None:
    """Of three hundred days of three days' payments, drawn from the usual hours, not one comes near to .1."""
    rng = np.random.default_rng(7)
    assert max(share_shifted(USUAL_HOURS, rng.multinomial(n, USUAL_HOURS) / n, n) for n in [12_600] * 300) < 0.05


@pytest.mark.parametrize("hours", [2, 5, 12, 22])
def test_clocks_that_are_off_are_counted(hours: int) -> None:
    """Three in ten, by whichever hours, less what chance could have to do with it."""
    found = 0.7 * USUAL_HOURS + 0.3 * np.roll(USUAL_HOURS, hours)
    assert 0.2 < share_shifted(USUAL_HOURS, found, 12_600) < 0.3


@pytest.mark.parametrize(("days_ago", "known"), [(18, True), (17, False), (11, False), (10, True)])
def test_a_sale_in_the_week_that_ended_ten_days_ago_is_no_shift_that_lasts(days_ago: int, known: bool) -> None:
    """Payments were others then, and that says nothing about today's."""
    day = date_of(AS_OF - days_ago)
    sale = pd.DataFrame({"first_day": [day], "last_day": [day], "name": ["sale"]})
    found = on(replace(tables(), calendar=sale), AS_OF)
    assert math.isfinite(usual()["drift.domain_auc_before"].value)
    assert math.isfinite(found["drift.domain_auc_before"].value) == known
    assert math.isfinite(found["drift.domain_auc"].value)


@pytest.mark.parametrize("column", ["amount", "category", "channel", "distance_km", "customer_id"])
def test_a_column_that_is_not_delivered_is_counted(column: str) -> None:
    """One column, whichever it is."""
    found = delivered_with(lambda rows, _strength, _rng: rows.drop_columns([column]), 1.0)
    assert found["batch.missing_columns"].value == 1.0


def test_a_day_without_payments_has_no_volume() -> None:
    """Two good days beside it do not hide it."""
    batches = {day: batch for day, batch in tables().batches.items() if day != date_of(AS_OF - 2)}
    assert on(replace(tables(), batches=batches), AS_OF)["batch.volume"].value == 0.0


@pytest.mark.parametrize("every", [2, 10, 100])
def test_skew_is_the_share_of_payments_that_the_service_read_otherwise(every: int) -> None:
    """Whichever of their features it was; what was read rightly is not counted."""
    online = tables().features_online
    assert online is not None
    hit = np.arange(len(online)) % every == 0
    column = online.schema.get_field_index("hour")
    hours = np.where(hit, online["hour"].to_numpy() + 5, online["hour"].to_numpy())
    wrong = online.set_column(column, "hour", pa.array(hours, pa.float32()))
    lately = online["transaction_id"].to_numpy() >= (AS_OF - 3) * IDS_A_DAY
    found = on(replace(tables(), features_online=wrong), AS_OF)["skew.mismatch"]
    assert found.value == hit[lately].mean()
    assert found.n == lately.sum()
    assert usual()["skew.mismatch"].value == 0.0


def test_a_feature_that_only_the_service_misses_is_skew() -> None:
    """Missing on both sides is the same; on one side it is not."""
    offline = tables().features_offline
    assert offline is not None
    column, nothing = offline.schema.get_field_index("terminal_risk"), pa.nulls(len(offline), pa.float32())
    without = offline.set_column(column, "terminal_risk", nothing)
    both = replace(tables(), features_offline=without, features_online=without)
    assert on(both, AS_OF)["skew.mismatch"].value == 0.0
    assert on(replace(tables(), features_online=without), AS_OF)["skew.mismatch"].value == 1.0


def test_missed_chargebacks_lower_what_arrived_of_them_only() -> None:
    """Four in five that never come lower the count by more than a half; analysts find what they always find."""
    found = on(relabelled(LabelFault(missed=0.8), AS_OF - 21), AS_OF)
    assert found["arrived.chargeback"].value <= usual()["arrived.chargeback"].value + math.log(0.4)
    for name in ("arrived.analyst_a", "arrived.analyst_b"):
        assert found[name].value == pytest.approx(usual()[name].value, abs=0.1)


def test_held_labels_lower_what_arrived_of_every_source() -> None:
    """Three in five that wait for the end of an outage are missing from all of them."""
    fault = LabelFault(held_back=0.6, held_until=midnight(AS_OF) + timedelta(days=3))
    found = on(relabelled(fault, AS_OF - 21), AS_OF)
    for name in ("arrived.chargeback", "arrived.analyst_a", "arrived.analyst_b", "arrived.analysts"):
        assert found[name].value == pytest.approx(usual()[name].value + math.log(0.4), abs=0.4)


USUAL = np.array([0.1, 0.5, 1.2, 2.0, 2.8, 3.5, 4.1, 4.6, 5.0, 5.3, 5.5, 5.7, 5.8, 5.9, 6.0, 6.0, 6.0, 6.0])
"""Chargebacks of the payments of each age from 3 to 20 days."""


@pytest.mark.parametrize("days", [6, 8, 10, 14])
@pytest.mark.parametrize("times", [4.0, 8.0])
def test_a_rise_of_chargebacks_tells_when_it_began(days: int, times: float) -> None:
    """Within two days, and never earlier: labels from before it say nothing about it."""
    found = np.where(np.arange(*RISE_AGES) <= days, np.round(USUAL * times), np.round(USUAL))
    assert days - 2 <= days_since_rise(found, USUAL) <= days


@pytest.mark.parametrize("times", [0.0, 0.5, 1.0, 1.1])
def test_without_a_rise_there_is_no_day_on_which_it_began(times: float) -> None:
    assert days_since_rise(np.round(USUAL * times), USUAL) == 0
