"""Run Evidently with our methods, and keep the runs in a workspace with a dashboard for each model."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd
import requests
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import Metric
from evidently.core.report import Snapshot
from evidently.errors import EvidentlyError
from evidently.legacy.calculations.stattests import register_stattest
from evidently.legacy.calculations.stattests.registry import StatTest
from evidently.legacy.core import ColumnType
from evidently.metrics import MeanValue, ValueDrift
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import line_plot_panel
from evidently.ui.workspace import Project, RemoteWorkspace, WorkspaceBase
from evidently.ui.workspace import Workspace as EvidentlyWorkspace

from ingest.whole_files import write_json, write_whole
from monitoring.psi import psi

log = logging.getLogger("monitoring.evidently")

SERVER_TIMEOUT_S = 10
PROJECT = "recommender"
METHOD = "psi_on_reference_quantiles"

#: Rows of each side that Evidently sees. Its run time grows faster than its precision; a PSI of 0.2 is far outside
#: the noise of 5,000 rows (about 10 bins / 5,000 rows = 0.002).
SAMPLE = 5_000


def _psi_test(reference: pd.Series, current: pd.Series, _kind: ColumnType, threshold: float) -> tuple[float, bool]:
    score = psi(reference, current)
    return score, score >= threshold


# Evidently's own PSI uses equal-width bins over the pooled data and drops nulls: an amount times 100 scores 0.0985.
register_stattest(
    StatTest(name=METHOD, display_name="PSI on reference quantiles", allowed_feature_types=[ColumnType.Numerical]),
    default_impl=_psi_test,
)


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far one column moved, and whether that is beyond its threshold."""

    column: str
    score: float
    threshold: float

    @property
    def drifted(self) -> bool:
        return self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The drift of columns, where the page is, relative to the workspace, and what else is to be said of them."""

    columns: tuple[ColumnDrift, ...]
    path: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A project of the workspace, and the lines that its dashboard draws through the runs: the metrics of each panel, by title."""

    project: str
    description: str
    panels: Mapping[str, Sequence[PanelMetric]]


RECOMMENDER = Dashboard(
    PROJECT,
    "Weekly data and prediction drift of the recommender",
    {
        "Drift score by column": [PanelMetric(legend="{{column}}", metric="ValueDrift")],
        "Mean by column": [PanelMetric(legend="{{column}}", metric="MeanValue")],
    },
)


class EvidentlyReports:
    """The Evidently workspace of a platform, under `home/evidently`, and the HTML pages beside it.

    Runs are told apart by their name and day, so two dashboards must not share the name of a report. A running Evidently reads its
    files when it starts, and later only when it is asked to: that is what `server`, its address, is for. It has the same folder. When it
    does not answer, it finds what is new at its next start; a watch does not wait for somebody who only looks on.
    """

    def __init__(self, home: Path, dashboard: Dashboard = RECOMMENDER, server: str | None = None) -> None:
        self._home, self._dashboard, self._server = home, dashboard, server

    def drift(
        self,
        name: str,
        reference: pd.DataFrame,
        current: pd.DataFrame,
        *,
        as_of: datetime,
        thresholds: Mapping[str, float],
    ) -> DriftReport:
        """Compare two frames of numbers column by column, store the run, write its page.

        `thresholds` names the columns to compare. A column that is missing on a side counts as all null there, instead
        of ending the report for all others.
        """
        columns = list(thresholds)
        lowest = reference.reindex(columns=columns).min().fillna(0.0) - 1.0
        drifts = [ValueDrift(column=c, method=METHOD, threshold=thresholds[c]) for c in columns]
        return self.keep(
            name,
            [*drifts, *(MeanValue(column=c) for c in columns)],
            _dataset(current, columns, lowest),
            _dataset(reference, columns, lowest),
            as_of=as_of,
            thresholds=thresholds,
        )

    def keep(
        self,
        name: str,
        metrics: Sequence[Metric],
        current: Dataset,
        reference: Dataset,
        *,
        as_of: datetime,
        thresholds: Mapping[str, float],
    ) -> DriftReport:
        """Run metrics, store the run, write its page; `thresholds` names the columns whose drift is among the metrics."""
        # `current` comes first in Evidently's run.
        run = Report(list(metrics), include_tests=True).run(current, reference, timestamp=as_of)
        self._store(run, f"{name} {as_of:%Y-%m-%d}")
        page = self._home / "reports" / f"{as_of:%Y-%m-%d}-{name}.html"
        write_whole(page, lambda temporary: run.save_html(str(temporary)))
        return DriftReport(_scores(run, thresholds), str(page.relative_to(self._home)))

    def _store(self, run: Snapshot, name: str) -> None:
        project = self._project() or self._new_project()
        workspace = _open_workspace(self._home / "evidently")
        # The same week again replaces its run: a dashboard shows each week once. Evidently finds a run by its id only,
        # and reading all of them to compare names takes longer every week.
        names = self._home / "evidently" / "runs.json"
        known: dict[str, str] = json.loads(names.read_text()) if names.exists() else {}
        if name in known:
            workspace.delete_run(project.id, known[name])
        known[name] = str(workspace.add_run(project.id, run, include_data=False, name=name).id)
        write_json(names, known)
        if self._server is not None:
            _have_it_read(self._server, project)

    def _project(self) -> Project | None:
        return next(iter(_open_workspace(self._home / "evidently").search_project(self._dashboard.project)), None)

    def _new_project(self) -> Project:
        """By the server if there is one: it can be asked to read the runs of a project anew, and not to look for projects."""
        made = self._made_by_server() if self._server is not None else None
        project = made or self._made_in(_open_workspace(self._home / "evidently"))
        for title, metrics in self._dashboard.panels.items():
            project.dashboard.add_panel(line_plot_panel(title, values=list(metrics)), tab="Drift")
        return project

    def _made_by_server(self) -> Project | None:
        try:
            self._made_in(RemoteWorkspace(self._server or ""))
        except (requests.RequestException, EvidentlyError, ValueError) as error:
            log.warning(
                "Evidently at %s does not answer, and shows nothing new until it is started anew: %s",
                self._server,
                error,
            )
            return None
        _open_workspace.cache_clear()  # it was opened before there was that project
        return self._project()

    def _made_in(self, workspace: WorkspaceBase) -> Project:
        return workspace.create_project(self._dashboard.project, description=self._dashboard.description)


def _have_it_read(server: str, project: Project) -> None:
    """Let a running Evidently look at a project's files again."""
    try:
        requests.get(f"{server}/api/projects/{project.id}/reload", timeout=SERVER_TIMEOUT_S).raise_for_status()
    except requests.RequestException as error:
        log.warning("Evidently at %s shows what is new of %s when it is started anew: %s", server, project.name, error)


@lru_cache(maxsize=1)
def _open_workspace(folder: Path) -> EvidentlyWorkspace:
    """Open once a process: Evidently reads every stored run when it opens, a tenth of a second each."""
    return EvidentlyWorkspace.create(str(folder))


def _dataset(frame: pd.DataFrame, columns: list[str], lowest: pd.Series) -> Dataset:
    # Evidently drops nulls and raises on an all-null column; a null as the lowest value is counted like any other.
    numbers = frame.reindex(columns=columns).astype("float64").fillna(lowest)
    sampled = numbers.sample(SAMPLE, random_state=0) if len(numbers) > SAMPLE else numbers
    return Dataset.from_pandas(sampled.reset_index(drop=True), DataDefinition(numerical_columns=columns))


def _scores(run: Snapshot, thresholds: Mapping[str, float]) -> tuple[ColumnDrift, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # json(), not dict(): the latter holds NumPy scalars and enums.
        metrics = json.loads(run.json())["metrics"]
    found = {m["config"]["column"]: m["value"] for m in metrics if m["config"]["type"].endswith("ValueDrift")}
    return tuple(ColumnDrift(column, float(found[column]), thresholds[column]) for column in thresholds)
