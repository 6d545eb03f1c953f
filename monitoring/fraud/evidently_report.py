"""Write a day's drift of payments into an Evidently workspace, in the very figures that the diagnosis reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset
from evidently.legacy.calculations.stattests import register_stattest
from evidently.legacy.calculations.stattests.registry import StatTest, StatTestResult
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift
from evidently.sdk.models import PanelMetric
from numpy.typing import NDArray

from feature_repo.card_features import COVARIATES, FEATURES
from ingest.errors import SourceError
from monitoring.evidently_reports import Dashboard, DriftReport, EvidentlyReports
from monitoring.fraud.batches import reference_of
from monitoring.fraud.diagnosis import LIMITS
from monitoring.fraud.drift import FEWEST, OWN, WINDOW_DAYS, auc, domain_scores, thinned
from monitoring.fraud.figures import Standing
from monitoring.fraud.ledger import Ledger
from monitoring.fraud.told import day_of
from monitoring.psi import psi

NAME = "fraud"
CLASSIFIER = "domain_classifier"
"""The column that stands for all payments' columns together: how new a payment looks to the classifier."""
FIGURES: Mapping[str, str] = {CLASSIFIER: "drift.domain_auc", **{name: f"psi.{name}" for name in COVARIATES}}
"""The columns of the report in its order, and the figure of the evidence that each one shows."""

Frames = tuple[pd.DataFrame, pd.DataFrame]


@dataclass(eq=False, kw_only=True)
class FigureTest(StatTest):
    """A figure of the evidence as a statistical test of Evidently's, under the figure's name and with the limit of a day.

    Evidently draws a line for each set of a metric's parameters, so a limit that is another one every day must not be among them.
    """

    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    limit: float
    mark: float
    """The number that stands for what is missing."""

    def __call__(
        self, reference_data: pd.Series, current_data: pd.Series, *_kind_threshold_engine: object, **_: object
    ) -> StatTestResult:
        """The figure of two samples, and whether it reached the limit."""
        before, now = (values.where(values != self.mark).to_numpy() for values in (reference_data, current_data))
        score = self.measure(before, now)
        return StatTestResult(score, score >= self.limit, self.limit)


DASHBOARD = Dashboard(
    "fraud",
    "Daily drift of payments: what the fraud model reads, label-derived features left out",
    {
        "Domain classifier's AUC": [
            PanelMetric(legend=CLASSIFIER, metric="ValueDrift", metric_labels={"column": CLASSIFIER})
        ],
        "PSI by column": [
            PanelMetric(legend=name, metric="ValueDrift", metric_labels={"column": name}) for name in COVARIATES
        ],
    },
)


def windows_of(ledger: Ledger, as_of: int) -> Frames:
    """What the model read of the reference's payments and of the last seven days': a row a payment, a column a feature.

    Raises SourceError when there are no features.
    """
    if ledger.offline is None:
        raise SourceError("The drift of payments is read from the table features_offline, which is not there: add it.")
    features = pd.DataFrame(ledger.offline, columns=list(FEATURES), copy=False)
    return features.iloc[reference_of(ledger, as_of)], features.iloc[ledger.rows(as_of - WINDOW_DAYS, as_of)]


def write_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    home: Path,
    *,
    as_of: int,
    standings: Mapping[str, Standing],
    server: str | None = None,
) -> DriftReport:
    """Compare two windows of payments column by column and by the domain classifier, for a person to look at in Evidently.

    Frames have a row a payment and a column a feature; whatever is made from labels is left out, for a label fault moves it
    although nobody paid otherwise. A column that is missing, or holds no number, counts as missing values. `standings` are
    those of day `as_of` (counted since 1970): a column moved when it is as far above what is usual as the diagnosis asks.
    The run replaces an earlier one of the same day; `server` is the address of a running Evidently (`EvidentlyReports`).
    Raises SourceError for a window without rows.
    """
    _need_payments(reference, current, as_of)
    before, now = (_numbers(rows) for rows in (reference, current))
    scored = domain_scores(*(rows[list(OWN)].to_numpy() for rows in (before, now)), seed=as_of)
    limits = {name: limit_of(name, standings) for name in FIGURES if name != CLASSIFIER or scored}
    old, new = (pd.DataFrame(thinned(rows.to_numpy(np.float64)), columns=rows.columns) for rows in (before, now))
    marks = _marks(old, new)
    old, new = old.fillna(marks), new.fillna(marks)
    if scored:
        old, new = (_beside(rows, scores) for rows, scores in zip((old, new), scored, strict=True))
    report = EvidentlyReports(home, DASHBOARD, server).keep(
        NAME,
        [_metric(name, limit, marks.get(name, math.nan)) for name, limit in limits.items()],
        *(Dataset.from_pandas(rows, DataDefinition(numerical_columns=list(limits))) for rows in (new, old)),
        as_of=datetime.combine(day_of(as_of), time()),
        thresholds=limits,
    )
    return replace(report, remarks=tuple(_remarks(before, now, limits)))


def _need_payments(reference: pd.DataFrame, current: pd.DataFrame, as_of: int) -> None:
    for what, rows in (("the reference, four weeks that ended four weeks before", reference), ("the week to", current)):
        if not len(rows):
            raise SourceError(
                f"There is no payment in {what} {day_of(as_of)}, so there is no drift to write. Choose another day."
            )


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """The covariates as the model reads them; what is no finite number is missing."""
    numbers = rows.reindex(columns=list(COVARIATES)).apply(pd.to_numeric, errors="coerce").astype(np.float32)
    return numbers.where(np.isfinite(numbers))


def limit_of(name: str, standings: Mapping[str, Standing]) -> float:
    """Where a figure is as far off as the diagnosis asks for; beyond everything while nothing is usual."""
    found = standings.get(FIGURES[name])
    if found is None or not math.isfinite(found.z):
        return math.inf
    least = LIMITS.moved_auc if name == CLASSIFIER else 0.0
    return found.usual + max(least, LIMITS.moved * found.spread)


def _metric(name: str, limit: float, mark: float) -> ValueDrift:
    what = "AUC of the domain classifier" if name == CLASSIFIER else "PSI on reference quantiles, missing values apart"
    judged = "not judged: nothing is usual yet" if math.isinf(limit) else f"limit {limit:.4f} from clean history"
    # Evidently finds tests by name in a table of the process: those of this day replace those of another.
    register_stattest(
        FigureTest(
            FIGURES[name], f"{what} ({judged})", [ColumnType.Numerical],
            measure=auc if name == CLASSIFIER else psi, limit=limit, mark=mark,
        )
    )  # fmt: skip
    return ValueDrift(
        column=name, method=FIGURES[name], threshold=LIMITS.moved, tests=[] if math.isinf(limit) else None
    )


def _marks(before: pd.DataFrame, now: pd.DataFrame) -> pd.Series:
    """For each column a number below all others, for what is missing: a bar of its own in Evidently's charts.

    Evidently drops nulls, and ends the whole report on a column of nothing else.
    """
    lowest = pd.concat([before, now]).min().fillna(0)
    return pd.Series(np.nextafter(lowest - 1, -np.inf), index=lowest.index)


def _beside(rows: pd.DataFrame, scores: NDArray[np.float64]) -> pd.DataFrame:
    """The classifier's sample beside the rows of a PSI; the shorter one ends in nulls, which Evidently drops."""
    return pd.concat([rows, pd.Series(scores, name=CLASSIFIER)], axis=1)


def _remarks(before: pd.DataFrame, now: pd.DataFrame, limits: Mapping[str, float]) -> list[str]:
    found = []
    for where, rows in (("last seven days", now), ("reference", before)):
        if empty := [name for name in COVARIATES if rows[name].isna().all()]:
            found.append(f"no value in the {where}: {', '.join(empty)}")
    if CLASSIFIER not in limits:
        found.append(f"no domain classifier: fewer than {FEWEST} payments in a window")
    if unjudged := [name for name, limit in limits.items() if math.isinf(limit)]:
        which = "every column" if len(unjudged) == len(limits) else ", ".join(unjudged)
        found.append(f"not judged, for nothing is usual yet: {which}")
    return found
