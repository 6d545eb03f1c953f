"""Evidence of drift: how far features and scores moved, and how well a classifier tells the new payments from the old."""

from __future__ import annotations

import math

import numpy as np
import xgboost
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from feature_repo.card_features import COVARIATES, FEATURES
from monitoring.fraud.batches import reference_of
from monitoring.fraud.figures import Figure, Figures, share
from monitoring.fraud.ledger import Ints, Ledger
from monitoring.psi import psi

WINDOW_DAYS = 7
"""Whole weeks: payments differ more between a Friday and a Sunday than most drift is large."""
LASTING_DAYS = 10
"""A shift that began before so many days lasts: the week after winter holidays is over by then, and labels that are wrong since show."""
SAMPLE = 3_000
"""Rows of each side for the domain classifier: its AUC then has a standard error of .007."""
EVERY = 3
"""One row in so many for a PSI: ten bins of ten thousand rows have a noise of .002."""
MOST = 50_000
"""About so many rows of each side for a PSI: a larger feed gains no precision by more, and Evidently takes minutes for a million."""
FEWEST = 200
"""Rows of each side below which the classifier says nothing."""
ALERT_ABOVE = 0.5
OWN = (
    *(name for name, lineage in FEATURES.items() if lineage == "transaction"),
    "amount_over_usual",
    "distance_over_usual",
)
"""What the domain classifier sees: windows tell customers and terminals apart, and so one month from another on any day."""
GROWN = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "max_bin": 32, "nthread": 1}


def drift_figures(ledger: Ledger, as_of: int) -> Figures:
    """PSI of every feature and of the score, the domain classifier's AUC, and the share of alerts.

    `drift.covariates` is the greatest PSI of what is made from payments; what is made from labels is reported beside it, for
    a fault of the labels moves it although the payments are what they were.
    """
    now, before = ledger.rows(as_of - WINDOW_DAYS, as_of), reference_of(ledger, as_of)
    if now.stop == now.start or not len(before):
        return {}
    found = {"score.psi": Figure(psi(*_live_scores(ledger, now, before))), "score.alerts": _alerts(ledger, now)}
    if ledger.offline is None:
        return found
    moved = {
        name: psi(thinned(ledger.offline[before, number]), thinned(ledger.offline[now, number]))
        for number, name in enumerate(FEATURES)
    }
    by_column = {f"psi.{name}": Figure(value, 0.0, now.stop - now.start) for name, value in moved.items()}
    week_before = range(as_of - LASTING_DAYS - WINDOW_DAYS, as_of - LASTING_DAYS)
    earlier = ledger.rows(week_before.start, week_before.stop)
    own = _own()
    reference = ledger.offline[before][:, own]
    return {
        **found,
        **by_column,
        "drift.covariates": Figure(max(moved[name] for name in COVARIATES), 0.0, now.stop - now.start),
        "drift.domain_auc": domain_auc(reference, ledger.offline[now][:, own], seed=as_of),
        # A festival moves payments, too: that they were others then says nothing about today's shift.
        "drift.domain_auc_before": Figure(math.nan)
        if any(map(ledger.event_on, week_before))
        else domain_auc(reference, ledger.offline[earlier][:, own], seed=as_of),
    }


def thinned(rows: NDArray) -> NDArray:
    """The rows that a PSI counts."""
    return rows[:: max(EVERY, len(rows) // MOST)]


def _live_scores(ledger: Ledger, now: slice, before: Ints) -> tuple[NDArray, NDArray]:
    """What the version that is live now gave both windows; a version that never scored the reference has none."""
    version = ledger.version[now.stop - 1]
    old = ledger.shadows.get(str(version), ledger.score)[before]
    old = old[np.isfinite(old)]
    return old, ledger.score[now]


def _alerts(ledger: Ledger, now: slice) -> Figure:
    scores = ledger.score[now]
    return share(float((scores >= ALERT_ABOVE).sum()), len(scores))


def domain_auc(before: NDArray[np.float32], now: NDArray[np.float32], *, seed: int) -> Figure:
    """AUC of telling new payments from old by what is made from payments: .5 where nothing moved, in any combination.

    Each half is scored by trees that were grown on the other. Source: Lopez-Paz and Oquab 2017, Revisiting Classifier
    Two-Sample Tests.
    """
    scored = domain_scores(before, now, seed=seed)
    if scored is None:
        return Figure(math.nan)
    n = min(len(scores) for scores in scored)
    return Figure(auc(*scored), math.sqrt(1 / (6 * n)), n)


def domain_scores(
    before: NDArray[np.float32], now: NDArray[np.float32], *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """How new each payment of a sample looks, from 0 to 1: old ones and new ones; None where too few are there to learn from."""
    rng = np.random.default_rng(seed)
    parts = [rows[rng.permutation(len(rows))[:SAMPLE]] for rows in (before, now)]
    if min(len(part) for part in parts) < FEWEST:
        return None
    rows, new = np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])
    half, scores = rng.random(len(rows)) < 0.5, np.empty(len(rows))
    for fitted in (half, ~half):
        data = xgboost.QuantileDMatrix(rows[fitted], label=new[fitted], max_bin=32, nthread=1)
        trees = xgboost.train(GROWN, data, 20)
        scores[~fitted] = trees.inplace_predict(rows[~fitted])
    return scores[new == 0], scores[new == 1]


def auc(before: ArrayLike, now: ArrayLike) -> float:
    """The share of pairs of an old and a new payment in which the new one has the higher score; ties count a half."""
    old, new = np.asarray(before, float), np.asarray(now, float)
    return float(roc_auc_score(np.repeat([0, 1], [len(old), len(new)]), np.concatenate([old, new])))


def _own() -> list[int]:
    return [number for number, name in enumerate(FEATURES) if name in OWN]
