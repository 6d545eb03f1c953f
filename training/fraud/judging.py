"""Gather the evidence about a fraud candidate: its labels, and it and its rival on the same payments that neither learned from.

The rival is the champion or, for the first model, the amount alone (`amount_alone`). Figures are means of days, because a day
is what the review queue is filled from, and days are what the bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from training.fraud.label_book import GOLD, LabelBook
from training.fraud.review_queue import in_queue
from training.metrics import paired_bootstrap
from training.vocabulary import Evidence

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Rival = Literal["champion", "amount_alone"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """How scores are acted on, and what mistakes cost in the currency of the amounts; an issuer's own figures."""

    capacity: int
    """Reviews a day."""
    blocked_above: float
    """The score from which a payment is stopped."""
    blocked_good: float
    """What stopping a good payment costs."""
    recovered: float
    """Share of a fraud's amount that a review in time saves."""


class Scored(NamedTuple):
    """All payments of some days with two models' scores; columns of one length, days as numbers."""

    ids: Ints
    days: Ints
    amount: Floats
    candidate: Floats
    rival: Floats


class Matured(NamedTuple):
    """Payments whose labels have had time to come: what is known, and how many each stands for (`examples.weights_of`)."""

    scored: Scored
    fraud: Flags
    weights: Floats


class Gold(NamedTuple):
    """The random part of the audit: payments, the truth, and the probability with which each was drawn."""

    ids: Ints
    fraud: Flags
    drawn_with: Floats


def amount_alone(amount: Floats) -> Floats:
    """The simple rule that the first model must beat: the larger the payment, the likelier; it blocks nothing."""
    return amount / (1e3 * max(float(amount.max(initial=0)), 1.0))


def label_evidence(
    book: LabelBook, days: Ints, as_of: float, *, training_frozen: bool, quarantined: Collection[str]
) -> dict[str, Evidence]:
    """What the gates ask about the labels that a candidate learned from.

    `book` holds what was said of the payments learned from, `days` their days and `as_of` the moment of fitting, both since
    1970. `training_frozen` and `quarantined` (sources) are what the watch last answered.
    """
    source = f"{book.rows} payments learned from"
    gold = book.said(GOLD).by(as_of)
    said = {name: labels.by(as_of) for name, labels in book.sources.items() if name != GOLD}
    contributed = sorted(name for name, labels in said.items() if (labels >= 0).any())
    # A day's payments are as old as its end, so that the last of them is.
    age = float(as_of - (days.max() + 1)) if len(days) else None
    found = [
        Evidence("training_frozen", training_frozen, "the watch"),
        Evidence("youngest_learned_days", age, source, n=len(days)),
        Evidence("label_sources", " ".join(contributed), source, n=len(contributed)),
    ]
    for name in contributed:
        checked = (said[name] >= 0) & (gold >= 0)
        wrong = float((said[name] != gold)[checked].mean()) if checked.any() else None
        found.append(Evidence(f"quarantined:{name}", name in quarantined, "the watch"))
        found.append(Evidence(f"contradicted_by_gold:{name}", wrong, "the gold audit", n=int(checked.sum())))
    return _by_name(found)


def held_out_evidence(judged: Ints, learned: Ints) -> dict[str, Evidence]:
    """How many of the payments judged by, matured or audited, the candidate learned from; both are ids.

    The audit's random part is too small to wait until it is younger than what was learned: leave it out of what is learned.
    """
    known = int(np.isin(judged, learned).sum())
    return _by_name([Evidence("judged_payments_learned", known, "ids of both", n=len(judged))])


def matured_evidence(rows: Matured, operation: Operation, rival: Rival, *, seed: int) -> dict[str, Evidence]:
    """What the gates ask about ranking, calibration and money, from days whose labels have come.

    Days without known fraud have no precision and no recall, and count for money only. Scores that are not finite leave no
    evidence of what they are needed for.
    """
    scored, by_day = rows.scored, _days_of(rows.scored.days)
    with_fraud = [day for day in by_day if (rows.fraud & (rows.weights > 0))[day].any()]
    frauds = int(rows.fraud.sum())
    source = f"{len(scored.ids)} matured payments of {len(by_day)} days"

    def difference(name: str, figure: Callable[[Floats], Floats]) -> Evidence:
        return _difference(f"{name}:{rival}", figure, scored, f"candidate minus {rival}, {source}", seed=seed)

    expected, observed = (float((rows.weights * figure).sum()) for figure in (scored.candidate, rows.fraud))
    return _by_name(
        [
            Evidence("days_judged", len(with_fraud), source, n=len(by_day)),
            Evidence("frauds_judged", frauds, source, n=len(scored.ids)),
            difference("average_precision_diff_vs", lambda score: _average_precision(rows, score, with_fraud)),
            difference("recall_at_capacity_diff_vs", lambda score: _recall(rows, score, operation, with_fraud)),
            _relative_loss(rows, operation, rival, source, by_day, seed=seed),
            Evidence("expected_over_observed", expected / observed if observed else None, source, n=frauds),
        ]
    )


def gold_evidence(scored: Scored, gold: Gold, operation: Operation, rival: Rival, *, seed: int) -> dict[str, Evidence]:
    """How many more of the audit's frauds the candidate's review queue holds, weighed by what each was drawn for.

    `scored` are all payments of the days that the audit drew from, because the queue is filled from all of them. Source:
    Horvitz and Thompson 1952, as a ratio (Hájek 1971).
    """
    at = {int(found): row for row, found in enumerate(scored.ids)}
    audited = gold.fraud & np.array([int(found) in at for found in gold.ids], bool)
    row = np.array([at[int(found)] for found in gold.ids[audited]], np.int64)
    stands_for = 1 / gold.drawn_with[audited]
    share = stands_for / stands_for.mean() if len(row) else stands_for

    def found_by(score: Floats) -> Floats:
        return in_queue(score * scored.amount, scored.days, operation.capacity)[row] * share

    source = f"candidate minus {rival}, {len(gold.ids)} payments of the gold audit's random part"
    return _by_name([_difference(f"gold_recall_diff_vs:{rival}", found_by, scored, source, seed=seed)])


def daily_loss(rows: Matured, score: Floats, operation: Operation) -> Floats:
    """What each day would have cost by its known labels: fraud that gets through, less what reviews save, and good payments stopped."""
    amount, days = rows.scored.amount, rows.scored.days
    blocked = score >= operation.blocked_above
    reviewed = in_queue(np.where(blocked, -1.0, score * amount), days, operation.capacity)
    through = amount * (rows.fraud & ~blocked) * (1 - operation.recovered * reviewed)
    lost = rows.weights * (through + operation.blocked_good * (blocked & ~rows.fraud))
    return np.array([lost[day].sum() for day in _days_of(days)])


def _average_precision(rows: Matured, score: Floats, by_day: list[Ints]) -> Floats:
    return np.array(
        [average_precision_score(rows.fraud[day], score[day], sample_weight=rows.weights[day]) for day in by_day]
    )


def _recall(rows: Matured, score: Floats, operation: Operation, by_day: list[Ints]) -> Floats:
    queued = in_queue(score * rows.scored.amount, rows.scored.days, operation.capacity)
    fraud = rows.fraud * rows.weights
    return np.array([(fraud * queued)[day].sum() / fraud[day].sum() for day in by_day])


def _relative_loss(
    rows: Matured, operation: Operation, rival: Rival, source: str, by_day: list[Ints], *, seed: int
) -> Evidence:
    """The difference as a share of what the rival loses: limits must not depend on a currency."""
    name, scored = f"loss_over:{rival}", rows.scored
    base = float(daily_loss(rows, scored.rival, operation).mean()) if by_day else 0.0
    if not base > 0:
        return Evidence(name, None, f"{rival} loses nothing: {source}", n=len(by_day))
    return _difference(
        name, lambda score: daily_loss(rows, score, operation) / base, scored, f"share of {base:.0f} a day, {source}", seed=seed
    )  # fmt: skip


def _difference(name: str, figure: Callable[[Floats], Floats], scored: Scored, source: str, *, seed: int) -> Evidence:
    """Candidate less rival in the mean of a figure, with the interval of a paired bootstrap."""
    if not (np.isfinite(scored.candidate).all() and np.isfinite(scored.rival).all()):
        return Evidence(name, None, f"scores that are not finite: {source}", n=0)
    ours, theirs = figure(scored.candidate), figure(scored.rival)
    if not len(ours):
        return Evidence(name, None, source, n=0)
    found = paired_bootstrap(ours, theirs, seed=seed)
    return Evidence(name, found.value, source, n=found.n, low=found.low, high=found.high)


def _days_of(days: Ints) -> list[Ints]:
    """The rows of each day, in order of the days."""
    order = np.argsort(days, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(days[order])) + 1) if len(days) else []


def _by_name(found: list[Evidence]) -> dict[str, Evidence]:
    return {item.name: item for item in found}
