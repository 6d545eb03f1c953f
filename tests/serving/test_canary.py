"""The canary's policy as tables: when it takes the next stage, when it waits, and when it is aborted."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.canary import (
    METRICS,
    CanaryOutcome,
    CanaryPolicy,
    CanaryState,
    Reading,
    SliceCounts,
    begin,
    step,
)
from serving.sequential_test import Block, Tally

POLICY = CanaryPolicy(min_requests=100, min_seconds=60, patience_seconds=30)
AT = "2026-03-02T09:00:00+00:00"
QUIET = Reading(SliceCounts(), SliceCounts())
# Each count, and the trials of which it is a part.
TRIALS = {"requests": "requests", "errors": "requests", "slow": "requests", "outcomes": "outcomes", "hits": "outcomes"}


def reading(**counts: tuple[int, int]) -> Reading:
    """For each count its figure in the canary and in the control."""
    canary, control = ({name: pair[side] for name, pair in counts.items()} for side in (0, 1))
    return Reading(SliceCounts(**canary), SliceCounts(**control))


def opened(first: Reading | None = QUIET, policy: CanaryPolicy = POLICY) -> CanaryState:
    """A canary whose counters have been read once."""
    return step(begin("8", "7", policy, now_s=0, at=AT), first, policy, now_s=0, at=AT)[0]


def run(
    state: CanaryState, totals: Reading, policy: CanaryPolicy = POLICY, *, seconds: int = 60
) -> tuple[CanaryState, CanaryOutcome]:
    """Let the counts grow evenly to `totals`, one reading a second, until there is something to do or time is up."""
    before, start_s = state.counts or QUIET, state.seen_s
    for second in range(1, seconds + 1):
        now = Reading(
            grown(before.canary, totals.canary, second / seconds),
            grown(before.control, totals.control, second / seconds),
        )
        state, outcome = step(state, now, policy, now_s=start_s + second, at=AT)
        if outcome.action != "continue":
            break
    return state, outcome


def grown(old: SliceCounts, new: SliceCounts, part: float) -> SliceCounts:
    """The counts on the way from old to new, whole answers only."""
    counts = {}
    for name, of in TRIALS.items():
        trials = getattr(new, of) - getattr(old, of)
        more = getattr(new, name) - getattr(old, name)
        counts[name] = getattr(old, name) + more * int(trials * part) // max(trials, 1)
    return SliceCounts(**counts)


def action_after(policy: dict[str, Any] | None = None, seconds: int = 60, **counts: tuple[int, int]) -> str:
    changed = replace(POLICY, **(policy or {}))
    totals = reading(**{"requests": (100, 100), **counts})
    return run(opened(policy=changed), totals, changed, seconds=seconds)[1].action


#    rule          the stage is passed with                                 and with this it is not
POLICY_TABLE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("requests", {"requests": (100, 100)}, {"requests": (99, 100)}, "continue"),
    ("requests", {"requests": (100, 100)}, {"requests": (100, 99)}, "continue"),
    ("time", {"seconds": 60}, {"seconds": 59}, "continue"),
    ("errors", {"errors": (9, 0)}, {"errors": (10, 0)}, "abort"),
    ("errors", {"errors": (100, 89)}, {"errors": (100, 88)}, "abort"),  # where all fails, it is not the canary's fault
    ("slow", {"slow": (9, 0)}, {"slow": (10, 0)}, "abort"),
    (
        "slow",  # measurable, but not material
        {"policy": {"harmless_slow": 0.2}, "requests": (400, 400), "slow": (80, 0)},
        {"policy": {"harmless_slow": 0.2}, "requests": (400, 400), "slow": (81, 0)},
        "abort",
    ),
    (
        "misses",
        {"outcomes": (100, 100), "hits": (16, 40)},
        {"outcomes": (100, 100), "hits": (15, 40)},
        "abort",
    ),
    (
        "outcomes",
        {"policy": {"min_outcomes": 50}, "outcomes": (50, 50), "hits": (15, 15)},
        {"policy": {"min_outcomes": 50}, "outcomes": (49, 50), "hits": (15, 15)},
        "continue",
    ),
    ("outcomes", {"outcomes": (0, 0)}, {"policy": {"min_outcomes": 1}, "outcomes": (0, 0)}, "continue"),
]


@pytest.mark.parametrize(("rule", "passing", "failing", "action"), POLICY_TABLE)
def test_a_stage_is_passed_on_the_threshold_and_not_just_beyond_it(
    rule: str, passing: dict[str, Any], failing: dict[str, Any], action: str
) -> None:
    """Each rule just passing and just failing: too little evidence waits, harm aborts."""
    assert action_after(**passing) == "advance"
    assert action_after(**failing) == action


SILENCE: dict[str, Callable[[int], Reading | None]] = {
    "metrics are missing": lambda second: None,
    "neither slice answers": lambda second: QUIET,
    "the canary answers no requests": lambda second: reading(requests=(0, 10 * second)),
    "the control answers no requests": lambda second: reading(requests=(10 * second, 0)),
    "the counters keep restarting": lambda second: reading(requests=(99 - second, 99 + second)),
    "neither slice answers requests": lambda second: reading(requests=(second, second), errors=(2 * second, 0)),
}


@pytest.mark.parametrize("reason", SILENCE)
def test_what_cannot_be_seen_is_aborted_when_patience_ends(reason: str) -> None:
    """Missing metrics, a silent slice or counts that make no sense are no evidence, and after 30 s none is an abort."""
    state = opened(SILENCE[reason](0))
    for second in range(1, 31):
        state, outcome = step(state, SILENCE[reason](second), POLICY, now_s=second, at=AT)
        assert outcome.action == "continue"
    state, outcome = step(state, SILENCE[reason](31), POLICY, now_s=31, at=AT)
    assert outcome.action == "abort"
    assert outcome.reason.startswith("no evidence")
    assert reason in outcome.reason


def test_evidence_renews_patience() -> None:
    """A gap in the metrics that ends in time costs nothing."""
    state = opened()
    for second in (30, 60, 90):
        state, _ = step(state, None, POLICY, now_s=second - 1, at=AT)
        state, outcome = step(state, reading(requests=(second, second)), POLICY, now_s=second, at=AT)
        assert outcome.action == "continue"


def test_the_ramp_ends_in_a_promotion() -> None:
    """1, 10 and 50 % are judged; reaching 100 % is the promotion, and what was learned in one stage counts in the next."""
    state, taken = opened(), []
    for hundreds in (1, 2, 3):
        state, outcome = run(state, reading(requests=(100 * hundreds, 100 * hundreds)))
        taken.append((outcome.action, state.share))
    assert taken == [("advance", 0.10), ("advance", 0.50), ("promote", 1.0)]
    assert state.tests["errors"].seen.canary.trials == 300


def test_each_stage_has_its_own_minimum_of_time_and_requests() -> None:
    """A stage with much traffic still takes its time, and one that took its time still needs its own requests."""
    state, outcome = run(opened(), reading(requests=(1000, 1000)))
    assert (outcome.action, state.share) == ("advance", 0.10)
    hurried, outcome = run(state, reading(requests=(9000, 9000)), seconds=59)
    assert outcome.reason == "59 s at 10%, 60 needed"
    assert run(hurried, reading(requests=(9001, 9001)), seconds=1)[1].action == "advance"
    assert run(state, reading(requests=(1099, 1099)))[1].reason == "99 requests per slice at 10%, 100 needed"


def test_harm_below_the_line_in_one_stage_is_found_in_the_next() -> None:
    """Evidence accumulates: a stage does not begin with a clean slate."""
    state, outcome = run(opened(), reading(requests=(100, 100), errors=(8, 0)))
    assert outcome.action == "advance"
    assert run(state, reading(requests=(200, 200), errors=(12, 0)))[1].action == "abort"
    assert run(opened(), reading(requests=(100, 100), errors=(4, 0)))[1].action == "advance"


def test_unknown_quality_is_named_and_does_not_abort() -> None:
    """Purchases come later than the canary ends; that nothing was known of them is on record."""
    outcome = run(opened(), reading(requests=(100, 100)))[1]
    misses = next(gate for gate in outcome.gates if gate.gate == "misses")
    assert "misses unknown" in outcome.reason
    assert [item.value for item in misses.evidence] == [None, None, None]


def test_an_outcome_lists_every_check_with_its_evidence() -> None:
    """Also the checks that passed are on record."""
    outcome = run(opened(), reading(requests=(100, 100), errors=(12, 1)))[1]
    assert [gate.gate for gate in outcome.gates] == [
        "metrics",
        "errors",
        "slow",
        "misses",
        "requests",
        "time",
        "outcomes",
    ]
    assert [gate.gate for gate in outcome.gates[:4] if not gate.passed] == ["errors"]
    assert "errors 11.76% of 85 against 0.00% of 85, p = 0.0025; worse if p <= 0.0033" in outcome.reason


def test_an_ended_canary_stays_ended() -> None:
    """A restart between decision and act gets the same answer again, whatever the counts say by then."""
    state, outcome = run(opened(), reading(requests=(100, 100), errors=(50, 0)))
    assert outcome.action == "abort"
    assert step(state, reading(requests=(900, 900)), POLICY, now_s=999, at=AT) == (state, outcome)


def test_the_first_reading_is_only_a_line_to_count_from() -> None:
    """What the counters hold from an earlier canary accuses nobody."""
    state = begin("8", "7", POLICY, now_s=0, at=AT)
    state, _ = step(state, reading(requests=(500, 500), errors=(500, 0)), POLICY, now_s=0, at=AT)
    state, outcome = run(state, reading(requests=(600, 600), errors=(500, 0)))
    assert outcome.action == "advance"
    assert state.tests["errors"].seen == Block(Tally(100, 0), Tally(100, 0))


def test_an_answer_counted_by_half_waits_for_its_other_half() -> None:
    """A reading with an error whose request is not counted yet is not lost; the next one holds both."""
    state = opened()
    state, _ = step(state, reading(requests=(5, 5), errors=(6, 0)), POLICY, now_s=1, at=AT)
    assert state.tests["errors"].seen.canary.trials == 0
    state, _ = step(state, reading(requests=(6, 6), errors=(6, 0)), POLICY, now_s=2, at=AT)
    assert (state.tests["errors"].seen.canary.trials, state.tests["errors"].seen.canary.bad) == (6, 6)


def test_a_restarted_counter_is_left_out() -> None:
    """What the counters show after a restart may have been counted before; it is not counted again."""
    state, _ = run(opened(), reading(requests=(80, 80)), seconds=20)
    state, outcome = step(state, reading(requests=(60, 90)), POLICY, now_s=21, at=AT)
    assert outcome.action == "continue"
    assert state.stage_requests.canary.trials == 80
    state, _ = step(state, reading(requests=(63, 92)), POLICY, now_s=22, at=AT)
    assert (state.stage_requests.canary.trials, state.stage_requests.control.trials) == (83, 82)


@pytest.mark.parametrize(
    ("clock", "resumes_s"),
    [("of another boot, behind", -5000.0), ("ahead by more than patience: nobody watched", 90.0)],
)
def test_a_jump_of_the_clock_restarts_the_stage_and_skips_none(clock: str, resumes_s: float) -> None:
    """Time in which nobody watched, or which another clock counted, does not count towards the stage's minimum."""
    state, _ = run(opened(), reading(requests=(200, 200)), seconds=59)
    state, outcome = step(state, reading(requests=(210, 210)), POLICY, now_s=resumes_s, at=AT)
    assert outcome.action == "continue"
    state, outcome = run(state, reading(requests=(400, 400)), seconds=59)
    assert (outcome.action, outcome.reason) == ("continue", "59 s at 1%, 60 needed")
    assert run(state, reading(requests=(410, 410)), seconds=1)[1].action == "advance"


def test_patience_ends_by_the_new_clock_too() -> None:
    """After a boot the old clock's moments lie in the future; silence is counted from the first look of the new one."""
    state, _ = run(opened(), reading(requests=(50, 50)), seconds=50)
    state, outcome = step(state, None, POLICY, now_s=5, at=AT)
    assert outcome.action == "continue"
    state, outcome = step(state, None, POLICY, now_s=35, at=AT)
    assert outcome.action == "continue"
    assert step(state, None, POLICY, now_s=36, at=AT)[1].action == "abort"


def test_a_clock_that_is_not_a_number_aborts() -> None:
    """NaN compares false with everything; it must not count as patience."""
    assert step(opened(), QUIET, POLICY, now_s=math.nan, at=AT)[1].action == "abort"


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": (1.0,)},  # a promotion without a look
        {"stages": (0.1, 0.6, 1.0)},  # at 60 % canary and control overlap
        {"stages": (0.1, 0.1, 1.0)},
        {"stages": (0.0, 0.1, 1.0)},
        {"stages": (0.1, 0.5)},
        {"min_requests": 0},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"patience_seconds": math.nan},
    ],
)
def test_a_policy_that_would_advance_unseen_cannot_be_built(wrong: dict[str, Any]) -> None:
    """Every stage needs a control of its own size, and some evidence."""
    with pytest.raises(ValueError, match=r"leave no control|advance unseen"):
        CanaryPolicy(**wrong)


# Mostly a healthy ramp, or no sequence would come far enough to break a rule; below zero, a worker has restarted.
slice_growth = st.builds(
    SliceCounts,
    requests=st.sampled_from([40, 60, 20, 5, 0, -5]),
    errors=st.integers(0, 1),
    slow=st.integers(0, 1),
    outcomes=st.integers(1, 3),
    hits=st.integers(0, 1),
)
pairs = st.tuples(slice_growth, slice_growth)
elapsed = st.sampled_from([15.0, 20.0, 12.0, 15.0, 14.0, 10.0, 15.0, 20.0, 1.0, 0.0, -7.0, 45.0])
events = st.lists(st.tuples(elapsed, st.one_of(pairs, pairs, pairs, st.none())), min_size=20, max_size=60)


def plus(counts: SliceCounts, more: SliceCounts) -> SliceCounts:
    return SliceCounts(**{name: max(0, getattr(counts, name) + getattr(more, name)) for name in TRIALS})


@given(events=events)
def test_no_stage_is_left_without_its_minimum_whatever_is_read(events: list[Any]) -> None:
    """Gaps, restarts, clocks that jump: the next stage is the next one, after enough requests of both and enough time."""
    state, now_s, total = opened(), 0.0, QUIET
    requests, watched_s = [0, 0], 0.0
    for elapsed_s, grown in events:
        now_s += elapsed_s
        watched_s = watched_s + elapsed_s if 0 <= elapsed_s <= POLICY.patience_seconds else 0.0
        if grown is not None:
            total = Reading(plus(total.canary, grown[0]), plus(total.control, grown[1]))
            requests = [n + max(0, more.requests) for n, more in zip(requests, grown, strict=True)]
        before = state
        state, outcome = step(before, total if grown else None, POLICY, now_s=now_s, at=AT)
        if state.ended is not None and outcome.action == "abort":
            assert state.share == before.share
            break
        if outcome.action == "continue":
            assert state.share == before.share
            continue
        assert state.share == POLICY.stages[POLICY.stages.index(before.share) + 1]
        assert (outcome.action == "promote") == (state.share == 1.0)
        assert min(requests) >= POLICY.min_requests
        assert watched_s >= POLICY.min_seconds
        requests, watched_s = [0, 0], 0.0
        if outcome.action == "promote":
            break


@settings(max_examples=40)
@given(events=events)
def test_a_restart_at_any_moment_changes_nothing(events: list[Any]) -> None:
    """A canary written to JSON and read back after every step decides as one that was never interrupted."""
    steady = restarted = opened()
    now_s, total = 0.0, QUIET
    for elapsed_s, grown in events:
        now_s += elapsed_s
        if grown is not None:
            total = Reading(plus(total.canary, grown[0]), plus(total.control, grown[1]))
        restarted = CanaryState.from_dict(json.loads(json.dumps(restarted.to_dict())))
        steady, outcome = step(steady, total if grown else None, POLICY, now_s=now_s, at=AT)
        restarted, again = step(restarted, total if grown else None, POLICY, now_s=now_s, at=AT)
        assert again == outcome
        assert restarted == steady
        assert CanaryOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_every_metric_has_its_rows() -> None:
    """No metric is compared without a row in the policy table."""
    assert set(METRICS) <= {rule for rule, _, _, _ in POLICY_TABLE}
