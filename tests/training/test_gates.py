"""The promotion policy as a table: each gate just passing, just failing and without evidence."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gates import FIRST_MODEL_GATES, GATES, GatePolicy, judge
from training.vocabulary import Evidence, Verdict

POLICY = GatePolicy()
SOURCE = "test"


def figure(
    name: str, value: float | str, low: float | None = None, high: float | None = None, n: int = 300
) -> Evidence:
    return Evidence(name, value, SOURCE, n=n, low=low, high=high)


GOOD = {
    item.name: item
    for item in (
        figure("contract_state", "accepted"),
        figure("snapshot_age_days", 0.0),
        figure("users_judged", 300),
        figure("ndcg_diff_vs_champion", 0.001, -0.006, 0.008),
        figure("ndcg_diff_vs_baseline:popularity_4w", 0.200, 0.180, 0.220),
        figure("ndcg_diff_vs_baseline:repeat_x_popularity", 0.020, 0.007, 0.033),
        figure("ndcg_new_diff_vs_baseline:popularity_4w", 0.050, 0.030, 0.070),
        figure("ndcg_new_diff_vs_baseline:repeat_x_popularity", 0.052, 0.030, 0.074),
        figure("recall_diff_vs_baseline:popularity_4w", 0.180, 0.160, 0.200),
        figure("recall_diff_vs_baseline:repeat_x_popularity", 0.020, 0.005, 0.035),
        figure("catalogue_coverage", 0.35),
        figure("slice_ndcg_diff:new_customers", 0.002, -0.030, 0.034, n=41),
        figure("slice_ndcg_diff:home_country", 0.001, -0.007, 0.009, n=270),
        figure("slice_ndcg_diff:other_countries", -0.004, -0.050, 0.042, n=30),
        figure("slice_ndcg_diff:heavy_buyers", 0.003, -0.012, 0.018, n=100),
        figure("slice_ndcg_diff:light_buyers", -0.002, -0.015, 0.011, n=200),
        figure("train_serve_max_abs_diff", 2e-8),
        figure("scoring_ms_per_user", 3.2),
        figure("artefact_size_mb", 12.0),
    )
}

BASELINE, NEW = "ndcg_diff_vs_baseline:repeat_x_popularity", "ndcg_new_diff_vs_baseline:repeat_x_popularity"
RECALL = "recall_diff_vs_baseline:repeat_x_popularity"
HEAVY = "slice_ndcg_diff:heavy_buyers"

#   gate                 just passing                                       just failing
POLICY_TABLE = [
    ("data_contract", [figure("contract_state", "accepted")], [figure("contract_state", "held")]),
    ("snapshot_age", [figure("snapshot_age_days", 7.0)], [figure("snapshot_age_days", 7.1)]),
    ("snapshot_age", [figure("snapshot_age_days", 0.0)], [figure("snapshot_age_days", -0.1)]),
    ("sample_size", [figure("users_judged", 100)], [figure("users_judged", 99)]),
    (
        "beats_champion",  # not probably worse: the mean
        [figure("ndcg_diff_vs_champion", -0.003, -0.010, 0.004)],
        [figure("ndcg_diff_vs_champion", -0.0031, -0.010, 0.004)],
    ),
    (
        "beats_champion",  # not measurably worse: the interval
        [figure("ndcg_diff_vs_champion", 0.001, -0.015, 0.017)],
        [figure("ndcg_diff_vs_champion", 0.001, -0.0151, 0.0171)],
    ),
    ("beats_baseline", [figure(BASELINE, 0.0, -0.013, 0.013)], [figure(BASELINE, -0.0001, -0.013, 0.013)]),
    ("new_item_quality", [figure(NEW, 0.0, -0.02, 0.02)], [figure(NEW, -0.0001, -0.02, 0.02)]),
    ("recall", [figure(RECALL, 0.0, -0.02, 0.02)], [figure(RECALL, -0.0001, -0.02, 0.02)]),
    ("coverage", [figure("catalogue_coverage", 0.05)], [figure("catalogue_coverage", 0.049)]),
    (
        "slices",  # material, but it may be chance
        [figure(HEAVY, -0.03, -0.06, 0.0, n=100)],
        [figure(HEAVY, -0.03, -0.06, -0.0001, n=100)],
    ),
    (
        "slices",  # measurable, but not material
        [figure(HEAVY, -0.02, -0.03, -0.01, n=100)],
        [figure(HEAVY, -0.0201, -0.03, -0.01, n=100)],
    ),
    (
        "slices",  # too few to judge
        [figure(HEAVY, -0.03, -0.06, -0.0001, n=29)],
        [figure(HEAVY, -0.03, -0.06, -0.0001, n=30)],
    ),
    ("train_serve_parity", [figure("train_serve_max_abs_diff", 1e-6)], [figure("train_serve_max_abs_diff", 1.1e-6)]),
    ("scoring_time", [figure("scoring_ms_per_user", 25.0)], [figure("scoring_ms_per_user", 25.1)]),
    ("artefact_size", [figure("artefact_size_mb", 100.0)], [figure("artefact_size_mb", 100.1)]),
]


def judged(*changed: Evidence, without: str | None = None, first_model: bool = False) -> Verdict:
    evidence = {**GOOD, **{item.name: item for item in changed}}
    return judge({name: item for name, item in evidence.items() if name != without}, POLICY, first_model=first_model)


def failed_gates(verdict: Verdict) -> list[str]:
    return [result.gate for result in verdict.refusals]


@pytest.mark.parametrize(("gate", "passing", "failing"), POLICY_TABLE)
def test_a_gate_passes_on_its_threshold_and_refuses_just_beyond_it(
    gate: str, passing: list[Evidence], failing: list[Evidence]
) -> None:
    """The threshold itself is allowed; one step beyond it refuses the candidate, for that gate alone."""
    assert judged(*passing).outcome == "promote"
    assert judged(*failing).outcome == "refuse"
    assert failed_gates(judged(*failing)) == [gate]


@pytest.mark.parametrize("name", GOOD)
def test_no_evidence_refuses(name: str) -> None:
    """A figure that is missing, None or not a number refuses the candidate, and the reason names it."""
    for verdict in (
        judged(without=name),
        judged(replace(GOOD[name], value=None, n=None)),
        judged(replace(GOOD[name], value=math.nan, low=math.nan, high=math.nan)),
    ):
        assert verdict.outcome == "refuse"
        assert name in verdict.refusals[0].reason


def test_every_gate_has_its_rows() -> None:
    """No gate is without a row in the policy table, and no row names a gate that does not exist."""
    assert {gate for gate, _, _ in POLICY_TABLE} == set(GATES)
    assert list(FIRST_MODEL_GATES) == list(GATES)


def test_a_verdict_lists_every_gate_with_its_evidence() -> None:
    """Also the gates that passed are on record, with the figures they looked at."""
    verdict = judged()
    assert [result.gate for result in verdict.gates] == list(GATES)
    assert verdict.gates[3].evidence == (GOOD["ndcg_diff_vs_champion"],)
    assert verdict.gates[3].reason == (
        "NDCG@10 +0.0010 against the champion, at worst -0.0060; allowed -0.0030, at worst -0.0150"
    )


@pytest.mark.parametrize(
    ("evidence", "outcome"),
    [
        (figure(BASELINE, 0.0050, -0.0150, 0.0250), "promote"),  # a gain, and surely not much worse
        (figure(BASELINE, 0.0049, -0.0100, 0.0198), "refuse"),  # no gain to speak of
        (figure(BASELINE, 0.0200, -0.0151, 0.0551), "refuse"),  # a gain that may be a loss
    ],
)
def test_the_first_model_needs_no_champion_but_must_gain_on_the_baselines(evidence: Evidence, outcome: str) -> None:
    """Without a champion the comparison with it is left out, and the best simple rule must be beaten by more than noise."""
    assert judged(evidence, without="ndcg_diff_vs_champion", first_model=True).outcome == outcome


def test_all_slices_too_thin_is_no_evidence() -> None:
    """At least one slice must have enough users, or nobody was protected."""
    thin = [replace(item, n=29) for name, item in GOOD.items() if name.startswith("slice_")]
    assert failed_gates(judged(*thin)) == ["slices"]


def test_a_thin_slice_is_named_though_it_is_not_judged() -> None:
    """The record says for whom nothing could be said."""
    result = next(gate for gate in judged(replace(GOOD[HEAVY], n=12)).gates if gate.gate == "slices")
    assert result.passed
    assert "too few users to judge: heavy_buyers (12 users)" in result.reason


@pytest.mark.parametrize(
    "malformed",
    [
        figure("users_judged", "300"),
        figure("users_judged", True),
        figure("users_judged", math.inf),
        figure("ndcg_diff_vs_champion", 0.02, 0.03, 0.04),
        "not evidence at all",
    ],
)
def test_malformed_evidence_is_a_refusal_and_not_a_crash(malformed: Any) -> None:
    """A gate that cannot read its figure, or breaks on it, refuses; the other gates are still judged."""
    name = malformed.name if isinstance(malformed, Evidence) else "users_judged"
    verdict = judge({**GOOD, name: malformed}, POLICY, first_model=False)
    assert verdict.outcome == "refuse"
    assert len(verdict.gates) == len(GATES)


evidence_sets = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(
            st.just(item),
            st.builds(
                lambda value, width, n, item=item: replace(
                    item, value=value, low=value - width, high=value + width, n=n
                ),
                st.floats(-0.1, 0.4) if not isinstance(item.value, str) else st.just(0.0),
                st.floats(0, 0.05),
                st.integers(0, 200),
            ),
        )
        for name, item in GOOD.items()
    },
)


@given(evidence=evidence_sets, hidden=st.sets(st.sampled_from(sorted(GOOD))), first_model=st.booleans())
def test_hiding_evidence_never_turns_a_refusal_into_a_promotion(
    evidence: dict[str, Evidence], hidden: set[str], first_model: bool
) -> None:
    """Whoever withholds a figure gains nothing by it."""
    shown = {name: item for name, item in evidence.items() if name not in hidden}
    if judge(shown, POLICY, first_model=first_model).outcome == "promote":
        assert judge(evidence, POLICY, first_model=first_model).outcome == "promote"


@given(broken=st.sets(st.sampled_from(sorted(GOOD)), min_size=1), part=st.sampled_from(["value", "low", "high"]))
def test_not_a_number_never_passes(broken: set[str], part: str) -> None:
    """NaN compares false with everything, so a carelessly written gate would let it through."""
    relevant = {name for name in broken if part == "value" or GOOD[name].low is not None}
    evidence = {name: replace(item, **{part: math.nan}) if name in relevant else item for name, item in GOOD.items()}
    assert judge(evidence, POLICY, first_model=False).outcome == ("refuse" if relevant else "promote")
