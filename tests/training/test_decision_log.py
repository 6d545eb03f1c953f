"""The decision log keeps each decision once, whatever happens to the process that writes it."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from ingest.errors import ArtefactError
from training.decision_log import DecisionLog
from training.vocabulary import Decision, Evidence


def decision(week: int = 3, reason: str = "all gates passed") -> Decision:
    return Decision(
        at=f"2011-01-{week:02d}",
        actor="policy",
        kind="promotion",
        subject="recommender",
        action="promote",
        reason=reason,
    )


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog(tmp_path / "run" / "decisions.jsonl")


def test_decisions_are_read_in_the_order_recorded(log: DecisionLog) -> None:
    """The log is a history, one JSON record a line."""
    log.record(decision(10))
    log.record(decision(3))
    assert log.read() == [decision(10), decision(3)]
    assert [json.loads(line)["at"] for line in log.path.read_text().splitlines()] == ["2011-01-10", "2011-01-03"]


def test_an_absent_log_is_empty(log: DecisionLog) -> None:
    """Before the first decision there is nothing to read, and reading creates nothing."""
    assert log.read() == []
    assert not log.path.exists()


def test_recording_the_same_decision_again_changes_nothing(log: DecisionLog) -> None:
    """A rerun of a week leaves the file as it is, byte for byte."""
    log.record(decision())
    before = log.path.read_bytes()
    log.record(decision())
    assert log.path.read_bytes() == before


def test_history_is_not_rewritten(log: DecisionLog) -> None:
    """The same decision with other content is an error that shows both contents."""
    log.record(decision())
    with pytest.raises(ArtefactError, match=r"all gates passed.*on second thoughts"):
        log.record(decision(reason="on second thoughts"))
    assert log.read() == [decision()]


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_torn_by_a_kill_is_skipped_and_then_repaired(log: DecisionLog, cut: int) -> None:
    """A kill in the middle of a write loses at most that write; recording it again completes the log."""
    log.record(decision(3))
    log.record(decision(10))
    log.path.write_bytes(log.path.read_bytes()[:-cut])
    assert log.read() == [decision(3)]
    log.record(decision(10))
    log.record(decision(17))
    assert log.read() == [decision(3), decision(10), decision(17)]


def test_an_altered_line_is_found(log: DecisionLog) -> None:
    """Editing the date of a past decision breaks its id; the error names the line."""
    log.record(decision(3))
    log.record(decision(10))
    log.path.write_text(log.path.read_text().replace("2011-01-10", "2011-01-11"))
    with pytest.raises(ArtefactError, match=r"Line 2 .*altered"):
        log.read()


def _record_all(path: Path) -> None:
    for week in range(1, 21):
        DecisionLog(path).record(decision(week))


def test_rival_writers_neither_lose_nor_double_a_decision(log: DecisionLog) -> None:
    """Two schedulers that run the same weeks at once leave one record of each."""
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        list(pool.map(_record_all, [log.path] * 2))
    assert sorted(item.at for item in log.read()) == [f"2011-01-{week:02d}" for week in range(1, 21)]


def test_a_log_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """An unusable place is reported with its path and a remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match=r"cannot be written.*run the week again"):
        DecisionLog(tmp_path / "file" / "decisions.jsonl").record(decision())


def test_a_missing_figure_is_still_the_same_decision(log: DecisionLog) -> None:
    """NaN is written as null; recording the decision again must not look like a contradiction."""
    blind = replace(decision(), evidence=(Evidence("recall", float("nan"), "test"),))
    log.record(blind)
    log.record(blind)
    assert len(log.read()) == 1
