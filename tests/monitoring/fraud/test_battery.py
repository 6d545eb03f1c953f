"""The battery's figures count what they say, on drills made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitoring.fraud.battery import Clean, Row, in_order, summary
from monitoring.fraud.money import Money
from monitoring.fraud.policy import RESPONSES
from monitoring.fraud.told import battery_tables


def row(cause: str, named: str, **changed: Any) -> Row:
    """A drill at mid strength in which one cause was named on all days."""
    given: dict[str, Any] = {
        "cause": cause, "truth": cause, "strength": "mid", "seed": 100, "named": dict.fromkeys((3, 7, 14, 21), named),
        "done": dict.fromkeys((3, 7, 14, 21), RESPONSES[named].action), "wanted": RESPONSES[cause].action,  # type: ignore[index]
        "days_to_cause": 1 if named == cause else None, "days_to_drift": None,
        "retrained_in_doubt": False, "average_precision_fall": 0.2, "lost": None,
    }  # fmt: skip
    return Row(**{**given, **changed})


def test_each_cause_counts_the_same() -> None:
    """Three drills of one cause, all right, and one of another, wrong, are a half and not three quarters."""
    rows = [row("nulls", "nulls", seed=seed) for seed in (100, 101, 102)] + [row("prior_shift", "none")]
    found = summary(rows)["accuracy"]
    assert found["mid and strong"][14]["share"] == 0.5
    assert found["the same, without contract, skew and release"][14] == {"share": 0.0, "low": 0.0, "high": 0.0, "n": 1}


def test_a_pair_by_its_names_stands_after_what_is_always_rehearsed() -> None:
    """Twenty minutes of drills are not lost for a name that no table expects."""
    pair = row("two_at_once", "covariate_harmful", retrained_in_doubt=True, lost=Money(3.0, 2.0, 1.0, 0))
    rows = [
        replace(pair, cause="covariate_harmful+missed_fraud"),
        row("two_at_once", "two_at_once"),
        row("nulls", "nulls"),
    ]
    assert in_order(each.cause for each in rows) == ["nulls", "two_at_once", "covariate_harmful+missed_fraud"]
    found = summary(rows)
    assert found["retrained in doubt"] == 1
    cells = [cell for table in battery_tables(found, []) for column in table.columns for cell in column.cells]
    assert "covariate_harmful+missed_fraud" in cells


def test_weak_drills_are_counted_by_themselves() -> None:
    """They do not lower the figure of the stronger ones."""
    found = summary([row("nulls", "nulls"), row("nulls", "none", strength="weak")])["accuracy"]
    assert found["mid and strong"][14]["share"] == 1.0
    assert found["weak"][14]["share"] == 0.0


def test_an_action_may_be_right_though_the_cause_is_not() -> None:
    """Missed fraud and late labels look alike, and call for the same."""
    found = summary([row("missed_fraud", "label_delay")])
    assert found["accuracy"]["mid and strong"][14]["share"] == 0.0
    assert found["action right on day 14"]["share"] == 1.0


@pytest.mark.parametrize(
    ("cause", "named", "right"),
    [
        ("label_flips", "concept_new", 0.0),
        ("concept_new", "label_flips", 0.0),
        ("label_flips", "biased_source", 1.0),
        ("concept_new", "none", 1.0),
    ],
)
def test_drift_is_told_from_label_faults_when_neither_is_taken_for_the_other(
    cause: str, named: str, right: float
) -> None:
    """To see nothing yet, or the neighbour's cause, is no confusion of the two sides."""
    assert summary([row(cause, named)])["drift against label fault on day 14"]["share"] == right


def test_retraining_in_doubt_is_counted() -> None:
    """One is one too many."""
    rows = [row("nulls", "nulls"), row("nulls", "concept_new", retrained_in_doubt=True)]
    assert summary(rows)["retrained in doubt"] == 1


def test_only_concept_drift_that_costs_something_must_be_named_in_time() -> None:
    """A fall of average precision below .13 is not counted; day 20 is too late."""
    rows = [
        row("concept_new", "concept_new", days_to_drift=19),
        row("concept_new", "concept_new", days_to_drift=20, seed=101),
        row("concept_mutated", "none", average_precision_fall=0.12),
    ]
    found = summary(rows)["concept drift named by day 19, of those with a fall of .13"]
    assert (found["share"], found["n"]) == (0.5, 2)


def test_the_tables_show_it() -> None:
    """Money side by side, clean weeks with and without a calendar, confusion by strength."""
    rows = [row("nulls", "nulls", lost=Money(300.0, 200.0, 250.0, 3)), row("nulls", "none", strength="weak")]
    clean = [Clean(100, True, 25, 0, 3, 0, {}), Clean(100, False, 25, 1, 3, 1, {"covariate_harmful": 2})]
    tables = battery_tables(summary(rows), clean)
    cells = [cell for table in tables for column in table.columns for cell in column.cells]
    for shown in ("100.0% (100.0% to 100.0%)", "300", "200", "250", "covariate_harmful on 2 days", "nulls 1"):
        assert shown in cells
