"""Evidence about the labels themselves: whether they come, whether their sources agree, and what the gold audit says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from monitoring.fraud.figures import Figure, Figures, log_ratio, share
from monitoring.fraud.ledger import AUDIT_REASONS, Flags, Ledger
from training.fraud.label_book import CHARGEBACK, GOLD, NEVER, LabelBook

ARRIVED_DAYS = 7
REVIEW_AGES, LATELY = (2, 16), (1, 8)
CHARGED_AGES = (2, 14)
HIGH, LEAST = 0.97, 0.5
FEWEST_IN_CELL = 1_000
MISSED = 0.4
GOLD_DAYS = (7, 14)
RISE_AGES = (3, 21)
RISEN, AS_LIKELY = 8.0, 2.0


def label_figures(ledger: Ledger, as_of: int) -> Figures:
    """How many labels came and how late, how far sources agree, and how often gold contradicts them."""
    return {**_arrivals(ledger, as_of), **_agreement(ledger, as_of), **_charged(ledger, as_of), **_gold(ledger, as_of)}


def analysts(book: LabelBook, as_of: float) -> list[str]:
    """The sources that are people who look at single payments, and had said something by a moment."""
    return sorted(
        name for name in set(book.sources) - {CHARGEBACK, GOLD} if book.sources[name].at.min(initial=NEVER) < as_of
    )


def _arrivals(ledger: Ledger, as_of: int) -> Figures:
    rows, found = ledger.rows(as_of - 42, as_of), {}
    ages = as_of - ledger.day_of_rows(rows)
    for name in (CHARGEBACK, *analysts(ledger.book, as_of)):
        at = ledger.book.said(name).at[rows]
        lately = (at >= as_of - ARRIVED_DAYS) & (at < as_of)
        count = int(lately.sum())
        found[f"arrived.{name}"] = Figure(float(np.log(count + 1)), 1 / math.sqrt(count + 1), count)
        if name == CHARGEBACK and count >= 10:
            lag = ages[lately] - (as_of - at[lately])
            found[f"lag.{name}"] = Figure(float(lag.mean()), float(lag.std() / math.sqrt(count)), count)
    queues = [np.log(max(found[f"arrived.{name}"].n, 0) + 1) for name in analysts(ledger.book, as_of)]
    if queues:
        worst = min(found[f"arrived.{name}"].n for name in analysts(ledger.book, as_of))
        found["arrived.analysts"] = Figure(float(min(queues)), 1 / math.sqrt(worst + 1), worst)
    return found


def _agreement(ledger: Ledger, as_of: int) -> Figures:
    """How often two analysts contradict each other, and how much less fraud than the others each of them finds."""
    said, lately = _said(ledger, as_of, REVIEW_AGES), _said(ledger, as_of, LATELY)
    names, score = list(said), ledger.score[ledger.rows(as_of - REVIEW_AGES[1], as_of - REVIEW_AGES[0])]
    found: dict[str, Figure] = {}
    if len(names) >= 2:
        both = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        doubles = sum(int(((said[a] >= 0) & (said[b] >= 0)).sum()) for a, b in both)
        contradicted = sum(int(((said[a] >= 0) & (said[b] >= 0) & (said[a] != said[b])).sum()) for a, b in both)
        found["sources.contradictions"] = share(contradicted, doubles)
    for name in names:
        others = [said[other] for other in names if other != name]
        mine = said[name]
        hits, expected = int((mine == 1).sum()), float(np.nansum(score[mine >= 0]))
        found[f"sources.finds.{name}"] = log_ratio(hits, expected)
        if others:
            theirs = sum(int((other == 1).sum()) for other in others)
            of_theirs = float(sum(np.nansum(score[other >= 0]) for other in others))
            gap = log_ratio(hits, expected).value - log_ratio(theirs, of_theirs).value
            noise = math.hypot(1 / math.sqrt(hits + 1), 1 / math.sqrt(theirs + 1))
            found[f"sources.gap.{name}"] = Figure(gap, noise, hits)
            found[f"sources.clears.{name}"] = _clears(said, name)
            # Of the last week only: too few to name a queue by, enough to wait.
            found[f"sources.lately.{name}"] = _clears(lately, name)
    return found


def _said(ledger: Ledger, as_of: int, ages: tuple[int, int]) -> dict[str, NDArray]:
    """What each analyst queue had said about payments of these ages."""
    rows = ledger.rows(as_of - ages[1], as_of - ages[0])
    return {name: ledger.book.said(name).by(as_of, rows) for name in analysts(ledger.book, as_of)}


def _clears(said: Mapping[str, NDArray], name: str) -> Figure:
    """Of what another queue calls fraud and this one has looked at, the share that this one calls good."""
    accused = np.any([of == 1 for other, of in said.items() if other != name], axis=0) & (said[name] >= 0)
    return share(float((accused & (said[name] == 0)).sum()), float(accused.sum()))


def _charged(ledger: Ledger, as_of: int) -> Figures:
    """Chargebacks of what was paid, beside what the scores and what the analysts would have expected at that age."""
    rows = ledger.rows(as_of - CHARGED_AGES[1], as_of - CHARGED_AGES[0])
    paid = ~ledger.decided.blocked[rows]
    charged = (ledger.book.said(CHARGEBACK).by(as_of, rows) == 1) & paid
    score = np.nan_to_num(ledger.score[rows])
    said = [ledger.book.said(name).by(as_of, rows) for name in analysts(ledger.book, as_of)]
    called = np.any([of == 1 for of in said] or [np.zeros(len(paid), bool)], axis=0)
    reviewed = np.any([of >= 0 for of in said] or [np.zeros(len(paid), bool)], axis=0)
    cleared = reviewed & ~called
    if not len(score):
        return {}
    high = score >= np.quantile(score, HIGH)
    least = score < np.quantile(score, LEAST)
    charges = _over(charged, paid, score)
    finds = _over(called, reviewed, score)
    beside = Figure(charges.value - finds.value, math.hypot(charges.noise, finds.noise), charges.n)
    low, top = _over(charged, paid & ~high, score), _over(charged, paid & high, score)
    hidden = Figure(low.value - finds.value, math.hypot(low.noise, finds.noise), low.n)
    return {
        "charged.over_expected": charges,
        "charged.high": top,
        "charged.low": low,
        "charged.hidden": hidden,
        "charged.beside_analysts": beside,
        "charged.of_called": share(float((charged & called).sum()), float((paid & called).sum())),
        "charged.back": _charged_back(ledger, as_of),
        "charged.of_cleared": share(float((charged & cleared).sum()), float((paid & cleared).sum())),
        "charged.least_likely": share(float((charged & least).sum()), float((paid & least).sum())),
        "analysts.over_expected": finds,
        **_cells(ledger, rows, charged, paid & ~high, score),
    }


def _charged_back(ledger: Ledger, as_of: int) -> Figure:
    """How much likelier it is that all frauds that analysts found are charged back than that two in five never are.

    By the age of each: that an old one has not been charged back says more than that a young one has not. How many usually have
    by each age is read off those of four to twelve weeks ago. The mean of the logarithms of the ratios.
    """
    old_at, old_day = _called_and_paid(ledger, as_of, (28, 84))
    at, day = _called_and_paid(ledger, as_of, CHARGED_AGES)
    if len(old_at) < 50 or len(at) < 10:
        return Figure(math.nan, 0.0, len(at))
    lags = np.sort(old_at - old_day)  # NEVER for those that never were
    usually = np.searchsorted(lags, as_of - day, side="left") / len(lags)
    missing = np.log((1 - usually * (1 - MISSED)) / (1 - usually + 1e-3))
    ratios = np.where(at < as_of, math.log(1 - MISSED), missing)
    return Figure(-float(ratios.mean()), float(ratios.std() / math.sqrt(len(ratios))), len(ratios))


def _called_and_paid(ledger: Ledger, as_of: int, ages: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """When what analysts called fraud, and was paid, was charged back, and on which day it was paid."""
    rows = ledger.rows(as_of - ages[1], as_of - ages[0])
    called = np.zeros(rows.stop - rows.start, bool)
    for name in analysts(ledger.book, as_of):
        called |= ledger.book.said(name).by(as_of, rows) == 1
    chosen = called & ~ledger.decided.blocked[rows]
    return ledger.book.said(CHARGEBACK).at[rows][chosen], ledger.day_of_rows(rows)[chosen]


def _days_since_rise(ledger: Ledger, as_of: int) -> float:
    """For how many days payments with low scores have been charged back more often than four to twelve weeks ago.

    NaN where too few were charged back then to say what is usual.
    """
    before = np.nan_to_num(ledger.score[ledger.rows(as_of - 84, as_of - 28)])
    if not len(before):
        return math.nan
    low = float(np.quantile(before, HIGH))
    old_at, old_day = _charged_below(ledger, as_of, (28, 84), low)
    if len(old_at) < 50:
        return math.nan
    _, day = _charged_below(ledger, as_of, RISE_AGES, low)
    ages, lags = np.arange(*RISE_AGES), np.sort(old_at - old_day)
    usual = len(lags) / (84 - 28) * np.searchsorted(lags, ages, side="left") / len(lags)
    return days_since_rise(np.bincount(as_of - day, minlength=RISE_AGES[1])[ages], usual)


def days_since_rise(found: NDArray, usual: NDArray) -> int:
    """How old the oldest payments are that are charged back more often than usual; 0 if none are.

    `found` and `usual` are counts of chargebacks of the payments of each age in RISE_AGES. Of the ages at which the rise may have
    begun the likeliest is sought (a Poisson likelihood ratio), and of those nearly as likely the youngest is taken: whoever
    asks what is known since then must not be told what was known before.
    """
    ages, so_far, expected = np.arange(*RISE_AGES), np.cumsum(found), np.maximum(np.cumsum(usual), 0.5)
    rise = np.where(so_far > expected, so_far * np.log(np.maximum(so_far, 1) / expected) - (so_far - expected), 0.0)
    return int(ages[np.argmax(rise >= rise.max() - AS_LIKELY)]) if rise.max() > RISEN else 0


def _charged_below(ledger: Ledger, as_of: int, ages: tuple[int, int], score: float) -> tuple[NDArray, NDArray]:
    """When what has a lower score was charged back, as far as that is known, and on which day it was paid.

    The same score for all ages: a quantile of its own would make old payments low when new ones score high.
    """
    rows = ledger.rows(as_of - ages[1] + 1, as_of - ages[0] + 1)
    charged = (ledger.book.said(CHARGEBACK).by(as_of, rows) == 1) & (np.nan_to_num(ledger.score[rows]) < score)
    return ledger.book.said(CHARGEBACK).at[rows][charged], ledger.day_of_rows(rows)[charged]


def _over(fraud: Flags, among: Flags, score: NDArray) -> Figure:
    return log_ratio(float((fraud & among).sum()), float(score[among].sum()))


def _cells(ledger: Ledger, rows: slice, charged: Flags, among: Flags, score: NDArray) -> Figures:
    """The same by what is paid for and how, where scores are low: a new pattern shows first where it is at home."""
    category, online = ledger.columns["category"][rows], ledger.columns["channel"][rows] == "online"
    found = {}
    for number, name in enumerate(ledger.categories):
        for there, how in ((online, "online"), (~online, "chip")):
            cell = among & (category == number) & there
            if cell.sum() >= FEWEST_IN_CELL:
                found[f"cell.{name}.{how}"] = _over(charged, cell, score)
    return found


def _gold(ledger: Ledger, as_of: int) -> Figures:
    """What the audit says, of the last one and of the last two: of the accused that are good, of the cleared that are fraud."""
    gold = ledger.book.said(GOLD)
    rows = ledger.rows(as_of - 45, as_of)
    fraud, reason = gold.fraud[rows] == 1, ledger.audit_reason[rows]
    ages, began = as_of - ledger.day_of_rows(rows), _days_since_rise(ledger, as_of)
    found: dict[str, Figure] = {"charged.days_since_rise": Figure(began)}
    for days, which in zip(GOLD_DAYS, ("", "_two"), strict=True):
        recent = (gold.at[rows] >= as_of - days) & (gold.at[rows] < as_of)
        accused, cleared, random, surprising = (recent & (reason == number) for number in range(len(AUDIT_REASONS)))
        since = surprising & (ages <= began)
        found |= {
            f"gold.accused_wrong{which}": share(float((accused & ~fraud).sum()), float(accused.sum())),
            f"gold.cleared_wrong{which}": share(float((cleared & fraud).sum()), float(cleared.sum())),
            f"gold.surprising_wrong{which}": share(float((surprising & ~fraud).sum()), float(surprising.sum())),
            f"gold.surprising_since{which}": share(float((since & ~fraud).sum()), float(since.sum())),
            f"gold.random_fraud{which}": share(float((random & fraud).sum()), float(random.sum())),
        }
        for name in (CHARGEBACK, *analysts(ledger.book, as_of)):
            said = ledger.book.said(name).by(as_of, rows)
            accused, cleared = recent & (said == 1), recent & (said == 0)
            found[f"gold.wrong_fraud{which}.{name}"] = share(float((accused & ~fraud).sum()), float(accused.sum()))
            found[f"gold.wrong_good{which}.{name}"] = share(float((cleared & fraud).sum()), float(cleared.sum()))
    return found
