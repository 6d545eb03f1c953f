"""Many drills at once: how often the cause is right, by day and strength, what is done about it, and what it costs.

A seed's history is lived once and shared by its drills; seeds are spread over processes. Seeds 0 to 9 were used to choose the
rules' thresholds, and of two causes at once others up to 48, so that figures that are reported come from higher ones.
"""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ingest.card_incidents import INCIDENTS, STRENGTHS
from monitoring.fraud.drill import DAYS, Drilled, clean_run, drill, festive_days
from monitoring.fraud.money import Money, money

REPORTED_DAYS = (3, 7, 14, 21)
REHEARSED = (*INCIDENTS, "two_at_once")
#: These show by themselves, on the first days: accuracy is also given without them.
EASY = (
    "unit_change", "nulls", "stuck_column", "duplicated_batch", "time_zone", "retyped_column", "new_category",
    "skew", "bad_release", "poisoned_labels",
)  # fmt: skip
LABEL_FAULTS = ("label_flips", "missed_fraud", "biased_source", "label_delay")
DRIFTS = ("covariate_harmless", "covariate_harmful", "concept_new", "concept_mutated", "prior_shift")
MATERIAL_FALL = 0.13
COUNTED = "mid"
"""The strength at which money is counted: the rival fits a model for every answer, which takes as long as the drill."""


@dataclass(frozen=True)
class Row:
    """One drill in short."""

    cause: str
    truth: str
    strength: str
    seed: int
    named: dict[int, str]
    done: dict[int, str]
    wanted: str
    days_to_cause: int | None
    days_to_drift: int | None
    """The day from which on either kind of concept drift was named, to the end."""
    retrained_in_doubt: bool
    average_precision_fall: float
    lost: Money | None

    @property
    def material(self) -> bool:
        return self.average_precision_fall >= MATERIAL_FALL


@dataclass(frozen=True)
class Clean:
    """Clean weeks of one seed: how many, and in how many something would have been done."""

    seed: int
    calendar: bool
    weeks: int
    alarms: int
    festival_weeks: int
    festival_alarms: int
    named: dict[str, int]


Said = Callable[[str], None]


def battery(
    seeds: Sequence[int],
    *,
    causes: Sequence[str] = REHEARSED,
    strengths: Sequence[str] = tuple(STRENGTHS),
    days: int = DAYS,
    jobs: int = 2,
    with_money: bool = True,
    said: Said = lambda _: None,
) -> list[Row]:
    """Every cause at every strength on every seed; `said` hears of each seed that is done."""
    tasks = [(seed, tuple(causes), tuple(strengths), days, with_money) for seed in seeds]
    rows: list[Row] = []
    for seed, found in _spread(_of_seed, tasks, jobs):
        rows += found
        said(f"seed {seed}: {len(found)} drills, {_right(found, 14):.0%} of causes right on day 14")
    order = in_order({row.cause for row in rows})
    return sorted(rows, key=lambda row: (order.index(row.cause), row.strength, row.seed))


def in_order(causes: Iterable[str]) -> list[str]:
    """Causes as they are rehearsed, and then pairs by their names."""
    found = set(causes)
    return [cause for cause in REHEARSED if cause in found] + sorted(found - set(REHEARSED))


def clean_weeks(seeds: Sequence[int], weeks: int, *, jobs: int = 2, said: Said = lambda _: None) -> list[Clean]:
    """Weeks in which nothing happens but festivals, with and without a calendar."""
    tasks = [(seed, weeks, calendar) for seed in seeds for calendar in (True, False)]
    found = []
    for clean in _spread(_clean, tasks, jobs):
        found.append(clean)
        said(
            f"seed {clean.seed}, {'with' if clean.calendar else 'without'} calendar: {clean.alarms} of {clean.weeks} weeks"
        )
    return sorted(found, key=lambda clean: (clean.calendar, clean.seed))


def _of_seed(task: tuple[int, tuple[str, ...], tuple[str, ...], int, bool]) -> tuple[int, list[Row]]:
    seed, causes, strengths, days, with_money = task
    rows = []
    for cause in causes:
        # Nothing is as strong as anything else, and a good release is a good release.
        of_cause = strengths[:1] if cause in ("none", "good_release") else strengths
        for strength in of_cause:
            counted = with_money and (strength == COUNTED or len(of_cause) == 1)
            rows.append(_row(drill(cause, STRENGTHS[strength], seed, days), cause, strength, with_money=counted))
    return seed, rows


def _row(drilled: Drilled, cause: str, strength: str, *, with_money: bool) -> Row:
    reported = [day for day in REPORTED_DAYS if day in drilled.watched]
    return Row(
        cause=cause,
        truth=drilled.cause,
        strength=strength,
        seed=drilled.seed,
        named={day: drilled.watched[day].diagnosis.cause for day in reported},
        done={day: drilled.watched[day].response.action for day in reported},
        wanted=drilled.action,
        days_to_cause=drilled.days_to_cause,
        days_to_drift=drilled.days_to("concept_new", "concept_mutated"),
        retrained_in_doubt=drilled.retrained_in_doubt,
        average_precision_fall=drilled.average_precision_clean - drilled.average_precision,
        lost=money(drilled) if with_money else None,
    )


def _clean(task: tuple[int, int, bool]) -> Clean:
    seed, weeks, calendar = task
    watched = clean_run(seed, weeks, calendar=calendar)
    alarms, festivals = [day.response.action != "hold" for day in watched], festive_days(seed, 7 * weeks)
    alarmed, festive = ([any(days[7 * w : 7 * w + 7]) for w in range(weeks)] for days in (alarms, festivals))
    named: Counter[str] = Counter(day.diagnosis.cause for day in watched if day.response.action != "hold")
    both = sum(a and f for a, f in zip(alarmed, festive, strict=True))
    return Clean(seed, calendar, weeks, sum(alarmed), sum(festive), both, dict(named))


def _spread(work: Callable[[Any], Any], tasks: Sequence[Any], jobs: int) -> Iterable[Any]:
    """Do tasks in so many processes, each of which has its own threads; in this one if there is but one."""
    if jobs <= 1:
        yield from map(work, tasks)
        return
    # Spawned, because a fork would copy the threads' locks of libraries that are loaded here.
    with multiprocessing.get_context("spawn").Pool(min(jobs, max(len(tasks), 1)), maxtasksperchild=4) as pool:
        yield from pool.imap_unordered(work, tasks)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures that are asked of the battery, each with its interval over seeds."""
    clear = [row for row in rows if row.strength in ("mid", "strong") or row.cause in ("none", "good_release")]
    hard = [row for row in clear if row.cause not in EASY]
    weak = [row for row in rows if row.strength == "weak" and row.cause not in ("none", "good_release")]
    last = max((day for row in rows for day in row.named), default=0)
    material = [row for row in clear if row.cause in ("concept_new", "concept_mutated") and row.material]
    return {
        "drills": len(rows),
        "seeds": sorted({row.seed for row in rows}),
        "accuracy": {
            name: {day: _interval(part, day) for day in REPORTED_DAYS if day <= last}
            for name, part in (
                ("mid and strong", clear),
                ("the same, without contract, skew and release", hard),
                ("weak", weak),
            )
        },
        "action right on day 14": _share_interval(clear, lambda row: row.done.get(14) == row.wanted),
        "drift against label fault on day 14": _share_interval(
            [row for row in clear if row.cause in (*LABEL_FAULTS, *DRIFTS)], _side_right
        ),
        "concept drift named by day 12, of those with a fall of .13": _share_interval(material, _in_time(12)),
        "concept drift named by day 19, of those with a fall of .13": _share_interval(material, _in_time(19)),
        "retrained in doubt": sum(row.retrained_in_doubt for row in rows),
        "confusion on day 14": {
            strength: _confusion([row for row in rows if row.strength == strength], 14) for strength in STRENGTHS
        },
        "days to cause": {
            cause: _median([row.days_to_cause for row in clear if row.cause == cause])
            for cause in in_order({*REHEARSED, *(row.cause for row in rows)})
        },
        "lost a day": _lost(clear),
    }


def _balanced(rows: Sequence[Row], right: Callable[[Row], bool]) -> float:
    """The mean over causes of the share that is right, so that each cause counts the same."""
    causes = sorted({row.cause for row in rows})
    return float(np.mean([np.mean([right(row) for row in rows if row.cause == cause]) for cause in causes]))


def _right(rows: Sequence[Row], day: int) -> float:
    known = [row for row in rows if day in row.named]
    return _balanced(known, lambda row: row.named[day] == row.truth) if known else math.nan


def _interval(rows: Sequence[Row], day: int) -> dict[str, float]:
    return _share_interval([row for row in rows if day in row.named], lambda row: row.named[day] == row.truth)


def _share_interval(rows: Sequence[Row], right: Callable[[Row], bool]) -> dict[str, float]:
    """A balanced share with its interval: seeds are drawn anew, because the drills of a seed share its history."""
    seeds = sorted({row.seed for row in rows})
    if not seeds:
        return {"share": math.nan, "low": math.nan, "high": math.nan, "n": 0}
    by_seed = {seed: [row for row in rows if row.seed == seed] for seed in seeds}
    rng = np.random.default_rng(0)
    drawn = [
        _balanced([row for seed in rng.choice(seeds, len(seeds)) for row in by_seed[int(seed)]], right)
        for _ in range(400)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"share": _balanced(rows, right), "low": float(low), "high": float(high), "n": len(rows)}


def _in_time(day: int) -> Callable[[Row], bool]:
    """Whether some concept drift was named by a day, and to the end: both kinds are answered alike.

    Half of the chargebacks come within a week, and nearly all in two: five days after either are days 12 and 19.
    """
    return lambda row: row.days_to_drift is not None and row.days_to_drift <= day


def _side_right(row: Row) -> bool:
    """Whether a label fault was not taken for drift, nor drift for a label fault."""
    named = row.named.get(14)
    return named not in (DRIFTS if row.cause in LABEL_FAULTS else LABEL_FAULTS)


def _confusion(rows: Sequence[Row], day: int) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        if day in row.named:
            found.setdefault(row.cause, Counter())[row.named[day]] += 1
    return {cause: dict(counts.most_common()) for cause, counts in found.items()}


def _median(days: Sequence[int | None]) -> float | None:
    """The median day, where those that were never right count as never."""
    if not days:
        return None
    middle = float(np.median([math.inf if day is None else day for day in days]))
    return middle if math.isfinite(middle) else None


def _lost(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    with_money = [row for row in rows if row.lost is not None]
    found = {}
    for cause in in_order(row.cause for row in with_money):
        of_cause = [row.lost for row in with_money if row.cause == cause and row.lost]
        if of_cause:
            found[cause] = {name: float(np.mean([getattr(lost, name) for lost in of_cause])) for name in Money._fields}
    if found:
        found["all"] = {name: float(np.mean([each[name] for each in found.values()])) for name in Money._fields}
    return found


def as_record(row: Row) -> dict[str, Any]:
    """A drill for JSON."""
    return {**asdict(row), "lost": row.lost._asdict() if row.lost else None}
