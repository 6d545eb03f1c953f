"""The promotion policy of the fraud model as a table: each gate just passing, just failing and without evidence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fraud.gates import FIRST_MODEL_GATES, GATES, FraudGatePolicy, decide, judge
from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision, Evidence, GateResult

POLICY = FraudGatePolicy()


def figure(name: str, value: Any, low: float | None = None, high: float | None = None, n: int | None = 300) -> Evidence:
    return Evidence(name, value, "test", n=n, low=low, high=high)


def of(*items: Evidence) -> dict[str, Evidence]:
    return {item.name: item for item in items}


SHARED = of(
    figure("training_frozen", False),
    figure("youngest_learned_days", 42.0),
    figure("label_sources", "analyst_a chargeback"),
    figure("quarantined:analyst_a", False),
    figure("quarantined:chargeback", False),
    figure("contradicted_by_gold:analyst_a", 0.04, n=120),
    figure("contradicted_by_gold:chargeback", 0.10, n=150),
    figure("judged_payments_learned", 0, n=90_000),
    figure("days_judged", 21),
    figure("frauds_judged", 466),
    figure("expected_over_observed", 1.16),
)
GOOD = SHARED | of(
    figure("average_precision_diff_vs:champion", 0.017, -0.001, 0.036, n=21),
    figure("recall_at_capacity_diff_vs:champion", -0.011, -0.033, 0.011, n=21),
    figure("loss_over:champion", -0.03, -0.18, 0.08, n=21),
    figure("gold_recall_diff_vs:champion", 0.07, 0.0, 0.2, n=14),
)
FIRST = SHARED | of(
    figure("average_precision_diff_vs:amount_alone", 0.62, 0.56, 0.68, n=21),
    figure("recall_at_capacity_diff_vs:amount_alone", 0.46, 0.40, 0.52, n=21),
    figure("loss_over:amount_alone", -0.74, -0.86, -0.63, n=21),
    figure("gold_recall_diff_vs:amount_alone", 0.43, 0.1, 0.7, n=14),
)
PRECISION, RECALL = "average_precision_diff_vs:champion", "recall_at_capacity_diff_vs:champion"
ANALYST, LOSS, GOLD = "contradicted_by_gold:analyst_a", "loss_over:champion", "gold_recall_diff_vs:champion"

#   gate                 just passing                                       just failing
POLICY_TABLE = [
    ("training_allowed", figure("training_frozen", False), figure("training_frozen", True)),
    ("label_maturity", figure("youngest_learned_days", 14.0), figure("youngest_learned_days", 13.9)),
    ("label_sources", figure("quarantined:chargeback", False), figure("quarantined:chargeback", True)),
    ("label_sources", figure(ANALYST, 0.04, n=50), figure(ANALYST, 0.04, n=49)),
    ("label_sources", figure(ANALYST, 0.2), figure(ANALYST, 0.201)),
    ("held_out", figure("judged_payments_learned", 0), figure("judged_payments_learned", 1)),
    ("held_out", figure("judged_payments_learned", 0, n=1), figure("judged_payments_learned", 0, n=0)),
    ("sample_size", figure("days_judged", 14), figure("days_judged", 13)),
    ("sample_size", figure("frauds_judged", 100), figure("frauds_judged", 99)),
    ("average_precision", figure(PRECISION, -0.01, -0.03, 0.01), figure(PRECISION, -0.0101, -0.03, 0.01)),
    ("average_precision", figure(PRECISION, 0.0, -0.04, 0.04), figure(PRECISION, 0.0, -0.0401, 0.04)),
    ("recall_at_capacity", figure(RECALL, -0.03, -0.05, 0.01), figure(RECALL, -0.0301, -0.05, 0.01)),
    ("recall_at_capacity", figure(RECALL, 0.0, -0.06, 0.06), figure(RECALL, 0.0, -0.0601, 0.06)),
    ("calibration", figure("expected_over_observed", 0.67), figure("expected_over_observed", 0.66)),
    ("calibration", figure("expected_over_observed", 1.5), figure("expected_over_observed", 1.51)),
    ("expected_loss", figure(LOSS, 0.15, -0.1, 0.4), figure(LOSS, 0.151, -0.1, 0.4)),
    ("expected_loss", figure(LOSS, 0.05, 0.0, 0.1), figure(LOSS, 0.05, 0.001, 0.1)),
    ("gold_sample", figure(GOLD, 0.0, n=10), figure(GOLD, 0.0, n=9)),
    ("gold_recall", figure(GOLD, -0.1, n=10), figure(GOLD, -0.101, n=10)),
]
FIRST_TABLE = [
    (name, figure(f"{item}:amount_alone", 0.1, 0.001, 0.2), figure(f"{item}:amount_alone", value, low, 0.2))
    for name, item in (
        ("average_precision", "average_precision_diff_vs"),
        ("recall_at_capacity", "recall_at_capacity_diff_vs"),
    )
    for value, low in ((0.099, 0.001), (0.1, 0.0))
] + [
    (gate, replace(passing, name=f"{item}:amount_alone"), replace(failing, name=f"{item}:amount_alone"))
    for gate, passing, failing in POLICY_TABLE
    if gate in ("expected_loss", "gold_sample", "gold_recall")
    for item in [passing.name.split(":")[0]]
]


def failed(evidence: dict[str, Evidence], *, first_model: bool = False) -> list[str]:
    return [gate.gate for gate in judge(evidence, POLICY, first_model=first_model) if not gate.passed]


def decided(gates: tuple[GateResult, ...]) -> Decision:
    return decide(gates, at="2025-11-03T00:00:00", version="7", champion="6", run_id="r")


@pytest.mark.parametrize(("gate", "passing", "failing"), POLICY_TABLE)
def test_a_gate_passes_on_its_threshold_and_fails_just_beyond_it(
    gate: str, passing: Evidence, failing: Evidence
) -> None:
    """The threshold itself is allowed; one step beyond it, that gate alone is not passed."""
    assert failed(GOOD | of(passing)) == []
    assert failed(GOOD | of(failing)) == [gate]


@pytest.mark.parametrize(("gate", "passing", "failing"), FIRST_TABLE)
def test_the_first_model_must_surely_beat_the_amount_alone(gate: str, passing: Evidence, failing: Evidence) -> None:
    """By a tenth, and by more than chance; money and gold may not speak for the rule."""
    assert failed(FIRST | of(passing), first_model=True) == []
    assert failed(FIRST | of(failing), first_model=True) == [gate]


@pytest.mark.parametrize(("good", "first_model"), [(GOOD, False), (FIRST, True)])
def test_a_gate_without_evidence_is_not_passed_and_names_it(good: dict[str, Evidence], first_model: bool) -> None:
    """Whatever is missing, None or not a number: the reason says what."""
    for name, item in good.items():
        for evidence in (
            {other: kept for other, kept in good.items() if other != name},
            good | of(replace(item, value=None, n=None)),
            good | of(replace(item, value=math.nan, low=math.nan, high=math.nan, n=None)),
        ):
            results = judge(evidence, POLICY, first_model=first_model)
            missing = [gate for gate in results if not gate.passed]
            assert missing, name
            assert all(gate.reason.startswith("no evidence: ") and name in gate.reason for gate in missing)


def test_a_champion_to_compare_with_is_no_rule_and_the_other_way_round() -> None:
    """Evidence against one rival says nothing about the other."""
    against = ["average_precision", "recall_at_capacity", "expected_loss", "gold_sample", "gold_recall"]
    assert failed(FIRST) == against
    assert failed(GOOD, first_model=True) == against


def test_every_gate_has_its_rows() -> None:
    """No gate is without a row in the policy table, and no row names a gate that does not exist."""
    assert {gate for gate, _, _ in POLICY_TABLE} == set(GATES)
    assert list(FIRST_MODEL_GATES) == list(GATES)


def test_each_doubtful_source_is_named() -> None:
    """Whoever reads the refusal knows which labels to look at."""
    doubtful = GOOD | of(figure("quarantined:analyst_a", True), figure("contradicted_by_gold:chargeback", 0.5))
    [gate] = [gate for gate in judge(doubtful, POLICY, first_model=False) if not gate.passed]
    assert gate.reason == "analyst_a is quarantined; gold contradicts 50% of chargeback, 20% allowed"


def test_a_candidate_that_passes_every_gate_is_promoted() -> None:
    """The record names both versions and every figure that the gates looked at."""
    decision = decided(judge(GOOD, POLICY, first_model=False))
    assert (decision.kind, decision.action, decision.reason) == ("promotion", "promote", "every gate passed")
    assert (decision.subject, decision.model_version, decision.previous_version) == ("fraud version 7", "7", "6")
    assert {item.name for item in decision.evidence} == set(GOOD)


@pytest.mark.parametrize(
    "gold",
    [
        figure(GOLD, 0.0, 0.0, 0.0, n=9),
        figure(GOLD, -0.5, -1.0, 0.0, n=2),  # what two frauds say is no evidence against it, either
        figure(GOLD, None, n=0),
    ],
)
def test_too_few_gold_frauds_are_a_persons_to_judge(gold: Evidence) -> None:
    """All else is well: nothing is promoted, nothing refused, and the reason says how many there are."""
    decision = decided(judge(GOOD | of(gold), POLICY, first_model=False))
    assert (decision.kind, decision.action) == ("hold", "ask_a_person")
    assert f"gold_sample: {gold.n} frauds in the audit's random part, 10 needed" in decision.reason
    assert aliases_after([decision]) == Aliases()


@pytest.mark.parametrize(
    "against", [figure(GOLD, -0.2, n=14), figure("training_frozen", True), figure("expected_over_observed", None)]
)
def test_nobody_is_asked_about_what_fails_by_itself(against: Evidence) -> None:
    """Gold that has seen enough, labels in doubt, and any other gap refuse, whatever gold has seen."""
    gold = {} if against.name == GOLD else of(figure(GOLD, 0.0, n=3))
    decision = decided(judge(GOOD | gold | of(against), POLICY, first_model=False))
    assert (decision.kind, decision.action) == ("refusal", "refuse")


def test_no_gates_are_no_evidence() -> None:
    """Nothing that was not judged goes live."""
    assert decided(()).action == "refuse"


evidence_sets = st.fixed_dictionaries(
    {
        name: st.one_of(
            st.just(item),
            st.builds(
                lambda value, width, n, item=item: replace(
                    item, value=value, low=value - width, high=value + width, n=n
                ),
                st.floats(-0.2, 1.6),
                st.floats(0, 0.05),
                st.integers(0, 200),
            ),
        )
        for name, item in GOOD.items()
        if item.low is not None
    }
)


@given(changed=evidence_sets, hidden=st.sets(st.sampled_from(sorted(GOOD)), min_size=1))
def test_hiding_evidence_never_promotes(changed: dict[str, Evidence], hidden: set[str]) -> None:
    """Whoever withholds a figure gains nothing by it; only gold's may be missing, and then a person is asked at best."""
    shown = {name: item for name, item in (GOOD | changed).items() if name not in hidden}
    action = decided(judge(shown, POLICY, first_model=False)).action
    assert action in ("refuse", "ask_a_person") if hidden == {GOLD} else action == "refuse"


@given(changed=evidence_sets)
def test_what_is_promoted_passed_every_gate(changed: dict[str, Evidence]) -> None:
    """And whatever did not pass is told in the reason."""
    gates = judge(GOOD | changed, POLICY, first_model=False)
    decision = decided(gates)
    refused = [gate.gate for gate in gates if not gate.passed]
    assert (decision.action == "promote") == (not refused)
    assert all(f"{name}: " in decision.reason for name in refused)
