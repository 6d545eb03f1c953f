"""What canary and control did is counted once, from what was logged, and what cannot be read is no evidence."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.canary import Reading, SliceCounts
from serving.prediction_log import PredictionLog
from serving.release import ServingFolder, Traffic
from serving.routing import route
from serving.slice_counts import SLOW_MS, SliceCounter
from tests.serving.answers import NOON, answer, write


@pytest.fixture
def folder(tmp_path: Path) -> ServingFolder:
    return ServingFolder(tmp_path)


@pytest.fixture
def counter(folder: ServingFolder) -> SliceCounter:
    """Counts the canary of version 2 from noon on."""
    return SliceCounter(folder, "2", NOON)


def tell(folder: ServingFolder, *lines: dict[str, Any] | str) -> None:
    """Let the shop's tracker append to the outcomes."""
    folder.root.mkdir(exist_ok=True)
    with folder.outcomes.open("a", encoding="utf-8") as file:
        file.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)


def bought(request_id: str, *items: str) -> dict[str, Any]:
    return {"request_id": request_id, "bought": list(items)}


def outcomes(counter: SliceCounter) -> tuple[int, int, int, int]:
    """Outcomes and hits of the canary, then of the control."""
    found = counter.read()
    assert found is not None
    return found.canary.outcomes, found.canary.hits, found.control.outcomes, found.control.hits


def test_nothing_logged_is_nothing_counted(counter: SliceCounter) -> None:
    """A service that has not answered yet is no failure to read."""
    assert counter.read() == Reading(SliceCounts(), SliceCounts())


def test_answers_are_counted_by_slice_and_once(folder: ServingFolder, counter: SliceCounter) -> None:
    """However often it is read; what is in no slice, or a copy in the shadow, is not counted."""
    write(folder.predictions, [answer("canary"), answer("control"), answer("control"), answer("rest")])
    first = Reading(SliceCounts(requests=1), SliceCounts(requests=2))
    assert counter.read() == first
    assert counter.read() == first
    write(folder.predictions, [answer("canary"), answer("shadow", version="2", slot="challenger")])
    assert counter.read() == Reading(SliceCounts(requests=2), SliceCounts(requests=2))


def test_rows_that_are_still_in_a_journal_are_counted_once(folder: ServingFolder, counter: SliceCounter) -> None:
    """They become Parquet behind the counter's back, and are the same rows."""
    log = PredictionLog(folder.predictions, clock=lambda: NOON)
    log.append(answer("canary"))
    log.flush()
    assert counter.read() == Reading(SliceCounts(requests=1), SliceCounts())
    log.append(answer("canary"))
    log.close()
    assert counter.read() == Reading(SliceCounts(requests=2), SliceCounts())


def test_what_was_answered_before_the_canary_began_is_not_its(folder: ServingFolder, counter: SliceCounter) -> None:
    """Its beginning is counted, the microsecond before is not."""
    before = NOON - timedelta(microseconds=1)
    write(folder.predictions, [answer("canary", at=before), answer("control", at=before), answer("canary", at=NOON)])
    assert counter.read() == Reading(SliceCounts(requests=1), SliceCounts())


#    an answer, and what it counts: requests, errors, slow of the canary, and of the control
COUNTED: list[tuple[dict[str, Any], tuple[int, int, int], tuple[int, int, int]]] = [
    ({"slice_": "canary"}, (1, 0, 0), (0, 0, 0)),
    ({"slice_": "control"}, (0, 0, 0), (1, 0, 0)),
    # Another version answered in the canary's place.
    ({"slice_": "canary", "slot": "champion", "version": "1"}, (1, 1, 0), (0, 0, 0)),
    ({"slice_": "canary", "slot": "previous", "version": "0"}, (1, 1, 0), (0, 0, 0)),
    ({"slice_": "canary", "slot": "none"}, (1, 1, 0), (0, 0, 0)),
    ({"slice_": "control", "slot": "none"}, (0, 0, 0), (1, 1, 0)),
    # The control has no version that it must be: the champion may have been stood in for, which is not the canary's merit.
    ({"slice_": "control", "slot": "previous", "version": "0"}, (0, 0, 0), (1, 0, 0)),
    # A worker had not let go of the canary before this one.
    ({"slice_": "canary", "slot": "challenger", "version": "9"}, (0, 0, 0), (0, 0, 0)),
    ({"slice_": "canary", "latency_ms": SLOW_MS}, (1, 0, 0), (0, 0, 0)),
    ({"slice_": "canary", "latency_ms": SLOW_MS + 0.01}, (1, 0, 1), (0, 0, 0)),
    ({"slice_": "control", "latency_ms": SLOW_MS + 0.01}, (0, 0, 0), (1, 0, 1)),
    ({"slice_": "rest", "slot": "none", "latency_ms": 99.0}, (0, 0, 0), (0, 0, 0)),
]


@pytest.mark.parametrize(("logged", "canary", "control"), COUNTED)
def test_what_an_answer_counts(
    folder: ServingFolder,
    counter: SliceCounter,
    logged: dict[str, Any],
    canary: tuple[int, int, int],
    control: tuple[int, int, int],
) -> None:
    """Requests, errors and slow answers, slice by slice."""
    write(folder.predictions, [answer(**logged)])
    found = counter.read()
    assert found is not None
    assert (found.canary.requests, found.canary.errors, found.canary.slow) == canary
    assert (found.control.requests, found.control.errors, found.control.slow) == control


def test_a_purchase_is_a_hit_if_it_was_shown(folder: ServingFolder, counter: SliceCounter) -> None:
    """A customer who bought something else, or nothing, is a known outcome, too."""
    hit, other, nothing, control = write(
        folder.predictions,
        [answer("canary", user_id=f"u{n}") for n in range(3)] + [answer("control", user_id="u9")],
    )
    tell(folder, bought(hit, "x", "a"), bought(other, "x"), bought(nothing), bought(control, "b"))
    assert outcomes(counter) == (3, 1, 1, 1)


def test_a_customer_counts_once(folder: ServingFolder, counter: SliceCounter) -> None:
    """The first known outcome of each, however many answers they got: later ones follow their habits."""
    first, second, third = write(folder.predictions, [answer("canary") for _ in range(3)])
    tell(folder, bought(first), bought(second, "a"))
    assert outcomes(counter) == (1, 0, 0, 0)
    tell(folder, bought(third, "a"), bought(first, "a"))
    assert outcomes(counter) == (1, 0, 0, 0)


def test_a_customer_who_changed_the_slice_counts_in_both(folder: ServingFolder, counter: SliceCounter) -> None:
    """A stage may take someone from the control into the canary."""
    control, canary = write(folder.predictions, [answer("control"), answer("canary")])
    tell(folder, bought(control), bought(canary, "a"))
    assert outcomes(counter) == (1, 1, 1, 0)


def test_the_outcome_of_an_unknown_request_is_ignored(folder: ServingFolder, counter: SliceCounter) -> None:
    """It belongs to no slice, or was answered before the canary began."""
    [rest] = write(folder.predictions, [answer("rest")])
    tell(folder, bought("nobody's", "a"), bought(rest, "a"))
    assert outcomes(counter) == (0, 0, 0, 0)


def test_a_torn_last_line_waits(folder: ServingFolder, counter: SliceCounter) -> None:
    """The tracker is still writing it: it is read when it is whole, and the lines before it at once."""
    first, second = write(folder.predictions, [answer("canary", user_id="u1"), answer("canary", user_id="u2")])
    line = json.dumps(bought(second, "a")) + "\n"
    tell(folder, bought(first), line[:10])
    assert outcomes(counter) == (1, 0, 0, 0)
    tell(folder, line[10:])
    assert outcomes(counter) == (2, 1, 0, 0)
    assert counter.malformed == 0


MALFORMED = [
    "not json\n",
    "\n",
    "\udcff\n",
    "17\n",
    "[]\n",
    "null\n",
    '{"bought": ["a"]}\n',
    '{"request_id": "r"}\n',
    '{"request_id": 7, "bought": ["a"]}\n',
    '{"request_id": ["r"], "bought": ["a"]}\n',
    '{"request_id": "r", "bought": "a"}\n',
    '{"request_id": "r", "bought": null}\n',
    '{"request_id": "r", "bought": [["a"]]}\n',
]


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_is_passed_over_and_counted(folder: ServingFolder, counter: SliceCounter, line: str) -> None:
    """The tracker's slip does not end a canary, and the lines around it count."""
    first, second = write(folder.predictions, [answer("canary", user_id="u1"), answer("canary", user_id="u2")])
    tell(folder, bought(first, "a"))
    with folder.outcomes.open("ab") as file:
        file.write(line.encode(errors="surrogateescape"))
    tell(folder, bought(second))
    assert outcomes(counter) == (2, 1, 0, 0)
    assert outcomes(counter) == (2, 1, 0, 0)
    assert counter.malformed == 1


def test_outcomes_that_cannot_be_read_are_no_evidence(folder: ServingFolder, counter: SliceCounter) -> None:
    """A canary must not win because nobody can see what its customers do; read again, they count."""
    [shown] = write(folder.predictions, [answer("canary")])
    folder.outcomes.mkdir(parents=True)
    assert counter.read() is None
    folder.outcomes.rmdir()
    tell(folder, bought(shown, "a"))
    assert outcomes(counter) == (1, 1, 0, 0)


@pytest.mark.parametrize("content", [b"no parquet", b""])
def test_a_log_that_cannot_be_read_is_no_evidence(folder: ServingFolder, counter: SliceCounter, content: bytes) -> None:
    """Part of the answers is not the answers; mended, they count."""
    damaged = folder.predictions / "hour=2026-03-02T12" / "1-1.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(content)
    assert counter.read() is None
    damaged.unlink()
    write(folder.predictions, [answer("canary")])
    assert counter.read() == Reading(SliceCounts(requests=1), SliceCounts())


def test_whom_nobody_knows_is_in_no_slice(folder: ServingFolder, counter: SliceCounter) -> None:
    """Without an id a customer cannot stay with a version, so is answered by the champion and not counted."""
    routed = route(None, Traffic("canary", 0.5))
    [shown] = write(folder.predictions, [answer(routed.slice, slot=routed.slot, user_id=None)])
    tell(folder, bought(shown, "a"))
    assert (routed.slot, counter.read()) == ("champion", Reading(SliceCounts(), SliceCounts()))


def test_a_counter_that_starts_again_counts_the_same(folder: ServingFolder, counter: SliceCounter) -> None:
    """What a new one finds in log and outcomes is what the old one had."""
    shown = write(folder.predictions, [answer("canary", user_id="u1"), answer("control", user_id="u2", slot="none")])
    tell(folder, *(bought(request_id, "a") for request_id in shown), "not json\n")
    expected = Reading(
        SliceCounts(requests=1, outcomes=1, hits=1), SliceCounts(requests=1, errors=1, outcomes=1, hits=1)
    )
    assert counter.read() == expected
    assert SliceCounter(folder, "2", NOON).read() == expected
