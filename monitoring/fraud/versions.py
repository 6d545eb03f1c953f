"""Evidence about what is live: whether it reads what the lake holds, whether the version before was better, what it learned from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from monitoring.fraud.figures import Figure, Figures, share
from monitoring.fraud.ledger import Flags, Ledger, Release
from training.fraud.examples import Decided, weights_of
from training.fraud.label_book import CHARGEBACK, GOLD
from training.fraud.operation import OPERATION

NEW_DAYS = 28
COMPARED_DAYS = 14
FEWEST_COMPARED = 500
SKEW_DAYS = 3
TOLERANCE = 1e-4
RESAMPLES = 20
FEWEST_LOOKED_AT = 0.1
"""Of the frauds that a version learned from: poisoned ones are looked at by nobody, but never are they nine in ten."""


def version_figures(ledger: Ledger, as_of: int) -> Figures:
    """Skew of the features that were served, and the newest release beside what it replaced."""
    found = {**_skew(ledger, as_of), **_challenger(ledger, as_of)}
    release = newest_release(ledger, as_of)
    if release is not None:
        found |= {**_beside_previous(ledger, as_of, release), **_learned_from(ledger, as_of, release)}
    return found


def newest_release(ledger: Ledger, as_of: int) -> Release | None:
    """The release of the last four weeks that replaced a model and is live still: one that was taken back is no worry any more."""
    live = set(ledger.version[ledger.rows(as_of - 1, as_of)])
    found = [
        r
        for r in ledger.releases
        if as_of - NEW_DAYS <= r.day < as_of and r.replaces in ledger.shadows and r.version in live
    ]
    return found[-1] if found else None


def _skew(ledger: Ledger, as_of: int) -> Figures:
    """The share of payments for which the service read other features than the lake gives."""
    if ledger.online is None or ledger.offline is None:
        return {}
    rows = ledger.rows(as_of - SKEW_DAYS, as_of)
    served, replayed = ledger.online[rows], ledger.offline[rows]
    there = ~np.isnan(served).all(axis=1)
    both_missing = np.isnan(served) & np.isnan(replayed)
    same = both_missing | (np.abs(served - replayed) <= TOLERANCE * (1 + np.abs(replayed)))
    return {"skew.mismatch": share(float((~same.all(axis=1) & there).sum()), float(there.sum()))}


def _challenger(ledger: Ledger, as_of: int) -> Figures:
    """What scores in the shadow beside what is live, on the same payments; evidence for people, for the gates decide about it."""
    rows = ledger.rows(as_of - COMPARED_DAYS, as_of)
    live = ledger.score[rows]
    replaced = {release.replaces for release in ledger.releases if release.day < as_of}
    newest = ledger.rows(as_of - 1, as_of)
    shadows = [
        name
        for name, scores in ledger.shadows.items()
        if name not in replaced and name not in ledger.version[newest] and np.isfinite(scores[newest]).any()
    ]
    if not shadows:
        return {}
    shadow = ledger.shadows[shadows[-1]][rows]
    both = np.isfinite(live) & np.isfinite(shadow)
    if both.sum() < FEWEST_COMPARED:
        return {}
    fraud, weight = _fairly_known(ledger, as_of, rows)
    return {"challenger.gain": _gain(shadow[both], live[both], fraud[both], weight[both], seed=as_of)}


def _beside_previous(ledger: Ledger, as_of: int, release: Release) -> Figures:
    rows = ledger.rows(max(release.day, as_of - COMPARED_DAYS), as_of)
    live, before = ledger.shadows[release.version][rows], ledger.shadows[str(release.replaces)][rows]
    both = np.isfinite(live) & np.isfinite(before)
    if both.sum() < FEWEST_COMPARED:
        return {"release.days": Figure(float(as_of - release.day))}
    fraud, weight = _fairly_known(ledger, as_of, rows)
    return {
        "release.days": Figure(float(as_of - release.day)),
        "release.agreement": _agreement_at_the_top(live[both], before[both]),
        "release.gain": _gain(live[both], before[both], fraud[both], weight[both], seed=as_of),
    }


def _fairly_known(ledger: Ledger, as_of: int, rows: slice) -> tuple[Flags, NDArray[np.float64]]:
    """What is known of payments whichever version pointed at them, and what each counts for.

    Analysts look at what the live version scores high, and so find its frauds first: a comparison by their labels favours it.
    So of what was paid only chargebacks count. What was blocked is never charged back: there an analyst's word counts once the
    chargeback would have come, by lags drawn from those of the chargebacks there were.
    """
    book, decided = ledger.book, Decided(*(part[rows] for part in ledger.decided))
    charged = book.said(CHARGEBACK).by(as_of, rows) == 1
    called = book.fraud_known(as_of, rows, without=(CHARGEBACK,))
    lags = _lags(ledger, as_of)
    if not len(lags):
        return charged, np.ones(len(charged))
    days = ledger.day_of_rows(rows)
    drawn = lags[ledger.columns["transaction_id"][rows].astype(np.int64) * 7919 % len(lags)]
    would_have_come = days + drawn < as_of
    fraud = np.where(decided.blocked, called & would_have_come, charged)
    return fraud, weights_of(decided, book.reviewed(as_of, rows), OPERATION.explored_share)


def _lags(ledger: Ledger, as_of: int) -> NDArray[np.float64]:
    """How many days the chargebacks of the last four weeks but two took, each from the day of its payment."""
    rows = ledger.rows(as_of - 56, as_of - 14)
    at = ledger.book.said(CHARGEBACK).at[rows]
    lag = at - ledger.day_of_rows(rows)
    return np.sort(lag[at < as_of])


def _agreement_at_the_top(live: NDArray, before: NDArray) -> Figure:
    """Rank correlation among the payments that either version puts into its top twentieth."""
    top = (live >= np.quantile(live, 0.95)) | (before >= np.quantile(before, 0.95))
    found = spearmanr(live[top], before[top]).statistic
    return Figure(float(found), 1 / math.sqrt(top.sum()), int(top.sum()))


def _gain(live: NDArray, before: NDArray, fraud: NDArray, weight: NDArray, *, seed: int) -> Figure:
    """Average precision of the live version minus that of the one before, on the same payments, by what is known of them."""
    kept = fraud | (live >= np.quantile(live, 0.9)) | (before >= np.quantile(before, 0.9))
    live, before, fraud, weight = live[kept], before[kept], fraud[kept], weight[kept]
    if fraud.sum() < 10:
        return Figure(math.nan, 0.0, int(fraud.sum()))

    def gain(weights: NDArray) -> float:
        return float(
            average_precision_score(fraud, live, sample_weight=weights)
            - average_precision_score(fraud, before, sample_weight=weights)
        )

    rng = np.random.default_rng(seed)
    drawn = [gain(weight * rng.poisson(1.0, len(weight))) for _ in range(RESAMPLES)]
    return Figure(gain(weight), float(np.std(drawn)), int(fraud.sum()))


def _learned_from(ledger: Ledger, as_of: int, release: Release) -> Figures:
    """How far the labels that a version learned from are those that are known of the same, matured payments."""
    learned = ledger.learned.get(release.version)
    if learned is None or not learned.fraud.any():
        return {}
    known = ledger.book.fraud_known(as_of)[learned.rows]
    # What came after the fit is no fault of the labels it had: only what it called good although it was known counts.
    then = ledger.book.fraud_known(release.day)[learned.rows]
    looked_at = ledger.book.looked_at(as_of, without=(GOLD,))[learned.rows]
    if looked_at[learned.fraud].mean() < FEWEST_LOOKED_AT or not known.any():
        return {}  # who never saw the labels that it learned from cannot call them wrong
    freed, accused = then & ~learned.fraud, learned.fraud & ~known
    return {"release.wrong_labels": share(float((freed | accused).sum()), float((then | learned.fraud).sum()))}
