"""Evidently shows the drift of payments in the figures and with the limits of the diagnosis, whatever state the columns are in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from feature_repo.card_features import FEATURES
from ingest.errors import SourceError
from monitoring.fraud.diagnosis import LIMITS, Reader, payments_moved
from monitoring.fraud.drift import drift_figures
from monitoring.fraud.figures import Standing, standing
from monitoring.fraud.folder import write_folder
from monitoring.fraud.ledger import Ledger
from tests.monitoring.fraud.small_issuer import AS_OF, date_of, epoch_day, known_on, midnight, tables

if TYPE_CHECKING:
    from monitoring.evidently_reports import DriftReport

TODAY = epoch_day(AS_OF)
FROM_LABELS = {name for name, lineage in FEATURES.items() if lineage == "labels"}
FROM_PAYMENTS = set(FEATURES) - FROM_LABELS
CLASSIFIER, AUC = "domain_classifier", "drift.domain_auc"
EMPTY = ("distance_km", "online", "category")

Frames = tuple[pd.DataFrame, pd.DataFrame]


@cache
def ledger() -> Ledger:
    return Ledger.of(tables())


@cache
def spoilt() -> Ledger:
    """The last week: greater amounts, half of the hours unknown, three columns empty, and every terminal called a risk."""
    assert ledger().offline is not None
    offline, column = ledger().offline.copy(), {name: number for number, name in enumerate(FEATURES)}
    now = offline[ledger().rows(TODAY - 7, TODAY)]
    now[:, column["amount"]] *= 1.5
    now[::2, column["hour"]] = np.nan
    for name in EMPTY:
        now[:, column[name]] = np.nan
    for name in FROM_LABELS:
        now[:, column[name]] += 100
    return replace(ledger(), offline=offline)


@cache
def standings(of: Ledger) -> Mapping[str, Standing]:
    """The figures of the day beside those of clean days up to four weeks ago."""
    past = [drift_figures(ledger(), epoch_day(number)) for number in range(57, 73)]
    return {
        name: standing(figure, [before[name].value for before in past])
        for name, figure in drift_figures(of, TODAY).items()
    }


def windows(of: Ledger) -> Frames:
    from monitoring.fraud.evidently_report import windows_of  # seconds, which other files' tests need not wait

    return windows_of(of, TODAY)


def write(folder: Path, frames: Frames, known: Mapping[str, Standing]) -> DriftReport:
    from monitoring.fraud.evidently_report import write_drift

    return write_drift(*frames, folder, as_of=TODAY, standings=known)


class Stored(NamedTuple):
    """What Evidently itself reads from a run of its workspace."""

    timestamp: datetime
    scores: dict[str, float]
    verdicts: dict[str, str]
    everything: str


def stored_in(folder: Path, project: str = "fraud") -> list[Stored]:
    from evidently.ui.workspace import Workspace

    workspace = Workspace(str(folder / "evidently"))
    [found] = workspace.search_project(project)
    return [_stored(workspace.get_run(found.id, number).json()) for number in workspace.list_runs(found.id)]


def _stored(run: str) -> Stored:
    read = json.loads(run)
    by_column = {m["metric_value_location"]["metric"]["params"]["column"]: m for m in read["metric_results"].values()}
    return Stored(
        datetime.fromisoformat(read["timestamp"]),
        {name: metric["value"] for name, metric in by_column.items()},
        {name: test["status"] for name, metric in by_column.items() for test in metric.get("tests") or []},
        run,
    )


class Written(NamedTuple):
    """What a report says, and what was stored of it."""

    said: DriftReport
    stored: Stored


class Home(NamedTuple):
    """A folder in which a week of the recommender and two reports of one day were written, each after the other."""

    folder: Path
    few: Written
    """Of 150 payments a side, amounts unknown in the reference, without any history."""
    harmed: Written
    """Of the spoilt week, of which one column is missing altogether and one holds words."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    from monitoring.evidently_reports import EvidentlyReports

    folder, week = tmp_path_factory.mktemp("home"), pd.DataFrame({"x": np.arange(50.0)})
    EvidentlyReports(folder).drift("recommender", week, week, as_of=midnight(AS_OF), thresholds={"x": 0.2})
    reference, current = windows(ledger())
    few = write(folder, (reference.iloc[:150].assign(amount=np.inf), current.iloc[:150]), {})
    stored_few = stored_in(folder)
    reference, current = windows(spoilt())
    harmed = write(folder, (reference, current.drop(columns="online").assign(distance_km="far")), standings(spoilt()))
    return Home(folder, Written(few, *stored_few), Written(harmed, *stored_in(folder)))


def figures(of: Ledger) -> dict[str, float]:
    """What the evidence of the day holds, by the report's columns."""
    found = {name.removeprefix("psi."): figure.value for name, figure in drift_figures(of, TODAY).items()}
    return {CLASSIFIER: found[AUC], **{name: found[name] for name in FROM_PAYMENTS}}


def test_figures_are_those_of_the_evidence(home: Home) -> None:
    """In the workspace and in what is said, where values are missing, too, which Evidently would drop."""
    said, stored = home.harmed
    assert stored.scores == pytest.approx(figures(spoilt()), abs=1e-9, rel=0)
    assert {c.column: c.score for c in said.columns} == stored.scores


def test_a_column_moved_when_the_diagnosis_would_say_so(home: Home) -> None:
    """Three usual deviations above clean history; for the classifier .025 as well."""
    said, stored = home.harmed
    seen = standings(spoilt())
    far = {name for name in FROM_PAYMENTS if seen[f"psi.{name}"].z >= LIMITS.moved}
    far |= {CLASSIFIER} if payments_moved(Reader(seen, None)) else set()
    assert {CLASSIFIER, "amount", "hour", *EMPTY} <= far < {CLASSIFIER, *FROM_PAYMENTS}
    assert stored.verdicts == {name: "FAIL" if name in far else "SUCCESS" for name in stored.scores}
    assert {c.column for c in said.columns if c.drifted} == far


def test_what_is_made_from_labels_is_left_out(home: Home) -> None:
    """By its lineage: it moved, and neither a column nor the classifier knows of it."""
    said, stored = home.harmed
    assert FROM_LABELS
    assert all(standings(spoilt())[f"psi.{name}"].z > 10 for name in FROM_LABELS)
    assert {c.column for c in said.columns} == set(stored.scores) == {CLASSIFIER, *FROM_PAYMENTS}
    assert not [name for name in FROM_LABELS if name in stored.everything]


def test_an_empty_column_is_a_finding(home: Home) -> None:
    """All null, missing or words: it moved, it is named, and the others are as they were."""
    said, stored = home.harmed
    assert said.remarks == ("no value in the last seven days: distance_km, online, category",)
    assert {stored.verdicts[name] for name in EMPTY} == {"FAIL"}
    others, usual = FROM_PAYMENTS - {"amount", "hour", *EMPTY}, figures(ledger())
    assert {name: stored.scores[name] for name in others} == pytest.approx({name: usual[name] for name in others})


def test_a_run_is_of_its_day(home: Home) -> None:
    """At its midnight, and with a page beside the workspace that says where the limits come from."""
    said, stored = home.harmed
    assert stored.timestamp == midnight(AS_OF)
    assert said.path == f"reports/{date_of(AS_OF)}-fraud.html"
    assert "from clean history" in (home.folder / said.path).read_text()


def test_without_history_figures_are_told_and_not_judged(home: Home) -> None:
    """Too few payments for the classifier are told, too."""
    said, stored = home.few
    assert said.remarks == (
        "no value in the reference: amount",
        "no domain classifier: fewer than 200 payments in a window",
        "not judged, for nothing is usual yet: every column",
    )
    assert set(stored.scores) == FROM_PAYMENTS
    assert all(math.isfinite(score) for score in stored.scores.values())
    assert stored.verdicts == {}
    assert not [c.column for c in said.columns if c.drifted]


def test_a_run_replaces_that_of_the_same_day_and_of_no_other_project(home: Home) -> None:
    """A dashboard shows a day once; the recommender's weeks lie in the same workspace."""
    assert [run.everything for run in stored_in(home.folder)] == [home.harmed.stored.everything]
    assert home.few.stored.everything != home.harmed.stored.everything
    assert len(stored_in(home.folder, "recommender")) == 1


def beside(values: Mapping[str, float], *, rise: float, z: float) -> dict[str, Standing]:
    """Standings in which every figure is so far above what is usual."""
    names = {CLASSIFIER: AUC, **{name: f"psi.{name}" for name in FROM_PAYMENTS}}
    return {names[name]: Standing(value, value - rise, rise / z, z, 4_000) for name, value in values.items()}


#: how far all figures rose, by how many deviations, and which columns moved
LIMIT_TABLE = [
    pytest.param(0.0251, 3.01, {CLASSIFIER, *FROM_PAYMENTS}, id="just far enough"),
    pytest.param(0.0249, 3.01, FROM_PAYMENTS, id="the classifier rose too little"),
    pytest.param(0.0251, 2.99, set(), id="too few deviations"),
]


@pytest.mark.parametrize(("rise", "z", "moved"), LIMIT_TABLE)
def test_limits_are_those_of_the_diagnosis(rise: float, z: float, moved: set[str]) -> None:
    """A deviation more or less is what decides."""
    from monitoring.fraud.evidently_report import limit_of

    usual = figures(ledger())
    known = beside(usual, rise=rise, z=z)
    assert {name for name, value in usual.items() if value >= limit_of(name, known)} == moved


@pytest.mark.parametrize(("side", "what"), [(0, "the reference"), (1, "the week")])
def test_a_window_without_payments_is_said(tmp_path: Path, side: int, what: str) -> None:
    """And nothing is written."""
    frames = list(windows(ledger()))
    frames[side] = frames[side].iloc[:0]
    with pytest.raises(SourceError, match=rf"There is no payment in {what}.* {date_of(AS_OF)}"):
        write(tmp_path, (frames[0], frames[1]), {})
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_without_features_is_said() -> None:
    """It names the table."""
    with pytest.raises(SourceError, match="features_offline"):
        windows(replace(ledger(), offline=None))


def test_the_command_writes_it_beside_the_diagnosis(tmp_path: Path) -> None:
    """The diagnosis stays what another program reads; how to look at the report is said beside it."""
    from cli import app

    write_folder(known_on(tables(), 60), tmp_path / "tables")
    asked = ["diagnose", str(tmp_path / "tables"), "--as-of", str(date_of(60)), "--evidently", str(tmp_path / "home")]
    run = CliRunner().invoke(app, [*asked, "--json"])
    assert run.exit_code == 0, run.stderr
    found, [stored] = json.loads(run.stdout)["figures"], stored_in(tmp_path / "home")
    assert {name: found[f"psi.{name}"]["value"] for name in FROM_PAYMENTS} == {
        name: pytest.approx(stored.scores[name], abs=1e-9, rel=0) for name in FROM_PAYMENTS
    }
    assert found[AUC]["value"] == pytest.approx(stored.scores[CLASSIFIER], abs=1e-9, rel=0)
    assert "evidently ui --workspace" in run.stderr
    assert (tmp_path / "home" / "reports" / f"{date_of(60)}-fraud.html").exists()
