"""Decide, reading by reading, whether a canary goes on, takes the next stage, is promoted or is aborted.

A canary answers a share s of the customers (sticky hash u < s); as many at the other end (u >= 1 - s) are its control,
answered by the champion at the same time. Bad events of both are compared by a test that may be looked at every second.

It fails closed, like the gates. A canary nobody can see is aborted: Spinnaker's default judge passes over a metric
without data, Flagger rolls back; here the second, because a canary that breaks its own metrics must not win by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from serving.sequential_test import Block, SequentialTest, Tally
from training.vocabulary import Evidence, GateResult

CanaryAction = Literal["continue", "advance", "promote", "abort"]
SOURCE = "canary"  # of all evidence below: the counts that the service keeps of both slices


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPolicy:
    """The stages and thresholds of a canary."""

    # The share of customers on the new version. 1 % bounds the harm of a version that fails at once; from 50 % on there
    # is no control of the same size left, so 100 % is the promotion and not a stage to be judged.
    stages: tuple[float, ...] = (0.01, 0.10, 0.50, 1.0)

    # Per slice and stage. After 300 requests a version with 5 points more errors has been caught in nine runs of ten;
    # losses of single points need the thousands of requests that the later stages bring.
    min_requests: int = 300
    # Per stage. Covers what comes with minutes rather than with requests: expiring caches, a scrape that lags.
    min_seconds: float = 300.0
    # Known outcomes per slice, over all stages, without which no stage is left. None by default: what a customer buys
    # is known hours later, and the offline gates have judged quality already. Above zero, quality is required.
    min_outcomes: int = 0

    # The probability that a version which is not worse is aborted, over the whole canary, all metrics together. With a
    # candidate a week, one such in two years.
    alpha: float = 0.01

    # Without a comparison of both slices for this long, abort. At 10 requests a second a 1 % slice gets one in ten
    # seconds, and two minutes of silence by chance once in 160,000. A quieter service needs more.
    patience_seconds: float = 120.0

    # Measurable alone would abort for trifles once millions of requests are compared; the excess must also be material,
    # as for the gates' slices. Of errors every measurable excess is.
    harmless_errors: float = 0.0
    # The latency limit is meant for the slowest in a thousand; five more of them are the least worth a rollback.
    harmless_slow: float = 0.005
    # One customer in a hundred fewer who buys what was shown: smaller losses are the offline gates' to weigh.
    harmless_misses: float = 0.01

    def __post_init__(self) -> None:
        ascending = all(low < high for low, high in zip((0.0, *self.stages), self.stages, strict=False))
        if not ascending or len(self.stages) < 2 or self.stages[-1] != 1 or self.stages[-2] > 0.5:
            raise ValueError(f"Stages {self.stages} leave no control: let them ascend to at most 0.5, and then 1.0.")
        if self.min_requests < 1 or not 0 < self.alpha < 1 or not self.patience_seconds > 0:
            raise ValueError(
                f"{self} would advance unseen: min_requests and patience must be positive, alpha in (0, 1)."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceCounts:
    """What one slice has counted since its counters began; `slow` are answers over the latency limit.

    `outcomes` are answers of which it is known whether the customer bought something shown, `hits` those where it is
    so. Count one per customer: purchases follow the customer's habits, and with several answers each, the test would
    find the difference between the customers that the hash dealt to each slice.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    outcomes: int = 0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The cumulative counts of both slices, read at the same moment."""

    canary: SliceCounts
    control: SliceCounts

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(SliceCounts(**record["canary"]), SliceCounts(**record["control"]))


# What counts as bad in each metric: the tally of it in a slice's counts.
METRICS: dict[str, Callable[[SliceCounts], Tally]] = {
    "errors": lambda counts: Tally(counts.requests, counts.errors),
    "slow": lambda counts: Tally(counts.requests, counts.slow),
    "misses": lambda counts: Tally(counts.outcomes, counts.outcomes - counts.hits),
}


@dataclass(frozen=True, slots=True)
class CanaryOutcome:
    """What to do with the canary now, why, and the checks behind it."""

    action: CanaryAction
    reason: str
    gates: tuple[GateResult, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"action": self.action, "reason": self.reason, "gates": [gate.to_dict() for gate in self.gates]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(**{**record, "gates": tuple(GateResult.from_dict(gate) for gate in record["gates"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """All that must survive a restart; `_at` is wall time for the record, `_s` the monotonic clock that durations use."""

    version: str
    champion_version: str
    share: float
    began_at: str
    stage_began_at: str
    stage_began_s: float
    seen_s: float
    compared_s: float
    stage_requests: Block = field(default_factory=Block)
    counts: Reading | None = None
    tests: Mapping[str, SequentialTest] = field(default_factory=lambda: {name: SequentialTest() for name in METRICS})
    ended: CanaryOutcome | None = None

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **fields,
            "stage_requests": asdict(self.stage_requests),
            "counts": self.counts and asdict(self.counts),
            "tests": {name: test.to_dict() for name, test in self.tests.items()},
            "ended": self.ended and self.ended.to_dict(),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        counts, ended = record["counts"], record["ended"]
        restored = {
            "stage_requests": Block.from_dict(record["stage_requests"]),
            "counts": counts and Reading.from_dict(counts),
            "tests": {name: SequentialTest.from_dict(record["tests"][name]) for name in METRICS},
            "ended": ended and CanaryOutcome.from_dict(ended),
        }
        return cls(**{**record, **restored})


def begin(version: str, champion_version: str, policy: CanaryPolicy, *, now_s: float, at: str) -> CanaryState:
    """Open the first stage; `now_s` is the monotonic clock in seconds, `at` the wall time in ISO."""
    return CanaryState(
        version=version,
        champion_version=champion_version,
        share=policy.stages[0],
        began_at=at,
        stage_began_at=at,
        stage_began_s=now_s,
        seen_s=now_s,
        compared_s=now_s,
    )


def step(
    state: CanaryState, reading: Reading | None, policy: CanaryPolicy, *, now_s: float, at: str
) -> tuple[CanaryState, CanaryOutcome]:
    """Take in one reading (None: the metrics are missing) and say what to do; a canary that has ended stays so.

    The first reading is only the line from which later ones count. So is one in which a counter went backwards, because
    a worker restarted: with several workers nobody knows what of it was counted before, and no evidence beats evidence
    counted twice.
    """
    if state.ended is not None:
        return state, state.ended
    watched = _take_in(_keep_time(state, policy, now_s), reading)
    outcome = _judge(watched, reading, policy)
    return _follow(watched, outcome, policy, at), outcome


def _keep_time(state: CanaryState, policy: CanaryPolicy, now_s: float) -> CanaryState:
    """A clock that went back is another machine's; after a gap nobody has watched. Either way the stage starts anew."""
    elapsed = now_s - state.seen_s
    other_clock, unwatched = elapsed < 0, elapsed > policy.patience_seconds
    return replace(
        state,
        seen_s=now_s,
        stage_began_s=now_s if other_clock or unwatched else state.stage_began_s,
        compared_s=now_s if other_clock else state.compared_s,
    )


def _take_in(state: CanaryState, reading: Reading | None) -> CanaryState:
    if reading is None:
        return state
    if state.counts is None or _went_back(state.counts, reading):
        return replace(state, counts=reading)
    blocks = {name: _block(tally, state.counts, reading) for name, tally in METRICS.items()}
    if not all(block.possible for block in blocks.values()):
        return state  # read while an answer was half counted; the next reading holds it whole
    tests = {name: state.tests[name].update(block) for name, block in blocks.items()}
    compared = tests["errors"].seen != state.tests["errors"].seen
    return replace(
        state,
        counts=reading,
        tests=tests,
        stage_requests=state.stage_requests + blocks["errors"],
        compared_s=state.seen_s if compared else state.compared_s,
    )


def _went_back(before: Reading, now: Reading) -> bool:
    return any(
        getattr(new, name) < getattr(old, name)
        for old, new in ((before.canary, now.canary), (before.control, now.control))
        for name in SliceCounts.__dataclass_fields__
    )


def _block(tally: Callable[[SliceCounts], Tally], before: Reading, now: Reading) -> Block:
    return Block(tally(now.canary) - tally(before.canary), tally(now.control) - tally(before.control))


def _judge(state: CanaryState, reading: Reading | None, policy: CanaryPolicy) -> CanaryOutcome:
    alarms = (
        _metrics_arrive(state, reading, policy),
        _not_worse("errors", state, policy, harmless=policy.harmless_errors),
        _not_worse("slow", state, policy, harmless=policy.harmless_slow),
        _not_worse("misses", state, policy, harmless=policy.harmless_misses),
    )
    minimums = (_enough_requests(state, policy), _enough_time(state, policy), _enough_outcomes(state, policy))
    gates = alarms + minimums
    if _refused(alarms):
        return CanaryOutcome("abort", _refused(alarms), gates)
    if _refused(minimums):
        return CanaryOutcome("continue", _refused(minimums), gates)
    passed = f"{state.share:.0%} passed: {'; '.join(gate.reason for gate in alarms)}"
    return CanaryOutcome("promote" if _next_share(state, policy) == 1 else "advance", passed, gates)


def _follow(state: CanaryState, outcome: CanaryOutcome, policy: CanaryPolicy, at: str) -> CanaryState:
    if outcome.action == "continue":
        return state
    if outcome.action == "abort":
        return replace(state, ended=outcome)
    return replace(
        state,
        share=_next_share(state, policy),
        stage_began_at=at,
        stage_began_s=state.seen_s,
        stage_requests=Block(),
        ended=outcome if outcome.action == "promote" else None,
    )


def _next_share(state: CanaryState, policy: CanaryPolicy) -> float:
    return min(share for share in policy.stages if share > state.share)


def _refused(gates: tuple[GateResult, ...]) -> str:
    return "; ".join(gate.reason for gate in gates if not gate.passed)


def _metrics_arrive(state: CanaryState, reading: Reading | None, policy: CanaryPolicy) -> GateResult:
    silence_s = state.seen_s - state.compared_s
    passed = silence_s <= policy.patience_seconds  # false for NaN
    finding = f"the slices were last compared {silence_s:.0f} s ago, {policy.patience_seconds:g} allowed"
    if not passed:
        missing = "the metrics are missing" if reading is None else _silent(state.tests["errors"].waiting)
        finding = f"no evidence: {missing}; {finding}; what cannot be seen is not left in front of customers"
    return GateResult("metrics", passed, finding, (Evidence("seconds_since_compared", silence_s, SOURCE),))


def _silent(waiting: Block) -> str:
    if waiting.control.trials:
        return "the canary answers no requests though its control does"
    if waiting.canary.trials:
        return "the control answers no requests though the canary does"
    return "neither slice answers requests, or the counters keep restarting"


def _not_worse(metric: str, state: CanaryState, policy: CanaryPolicy, *, harmless: float) -> GateResult:
    test, alpha = state.tests[metric], policy.alpha / len(METRICS)
    canary, control = test.seen.canary, test.seen.control
    evidence = (
        Evidence(f"{metric}:canary", canary.share, SOURCE, n=canary.trials),
        Evidence(f"{metric}:control", control.share, SOURCE, n=control.trials),
        Evidence(f"{metric}:p_value", test.p_value if test.seen.compares else None, SOURCE),
    )
    if canary.share is None or control.share is None or test.excess is None:
        return GateResult(metric, True, f"{metric} unknown: nothing to compare yet", evidence)
    worse = test.rejects(alpha) and test.excess > harmless
    finding = (
        f"{metric} {canary.share:.2%} of {canary.trials} against {control.share:.2%} of {control.trials}, "
        f"p = {test.p_value:.2g}; worse if p <= {alpha:.2g} and by more than {harmless:.1%}"
    )
    return GateResult(metric, not worse, finding, evidence)


def _enough_requests(state: CanaryState, policy: CanaryPolicy) -> GateResult:
    fewest = min(state.stage_requests.canary.trials, state.stage_requests.control.trials)
    finding = f"{fewest} requests per slice at {state.share:.0%}, {policy.min_requests} needed"
    evidence = Evidence("stage_requests_per_slice", fewest, SOURCE)
    return GateResult("requests", fewest >= policy.min_requests, finding, (evidence,))


def _enough_time(state: CanaryState, policy: CanaryPolicy) -> GateResult:
    watched_s = state.seen_s - state.stage_began_s
    finding = f"{watched_s:.0f} s at {state.share:.0%}, {policy.min_seconds:g} needed"
    evidence = Evidence("stage_seconds", watched_s, SOURCE)
    return GateResult("time", watched_s >= policy.min_seconds, finding, (evidence,))


def _enough_outcomes(state: CanaryState, policy: CanaryPolicy) -> GateResult:
    seen = state.tests["misses"].seen
    fewest = min(seen.canary.trials, seen.control.trials)
    finding = f"{fewest} outcomes known per slice, {policy.min_outcomes} needed"
    return GateResult(
        "outcomes", fewest >= policy.min_outcomes, finding, (Evidence("outcomes_per_slice", fewest, SOURCE),)
    )
