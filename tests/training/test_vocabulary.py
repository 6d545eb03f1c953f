"""The shared words survive the journey through JSON and cannot contradict themselves."""

import json
import math
from typing import Any

import numpy as np
import pytest

from training.vocabulary import Action, Decision, Evidence, GateResult, Verdict

EVIDENCE = Evidence("recall_at_20_all", 0.28, "mlflow:run-1", n=300, low=0.26, high=0.30)
DECISION = Decision(
    at="2011-01-24T00:00:00",
    actor="policy",
    kind="promotion",
    subject="recommender",
    action="promote",
    reason="all gates passed",
    evidence=(EVIDENCE,),
    model_version="3",
    previous_version="2",
    snapshot_id="a1b2",
    run_id="run-1",
)
VALUES = [
    EVIDENCE,
    Verdict.of((GateResult("recall", True, "enough", (EVIDENCE,)), GateResult("coverage", False, "too little"))),
    Action("ask_a_person", "quality lost", "it fell", (EVIDENCE,), options=("keep", "retrain")),
    DECISION,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_from_json_unchanged(value: Any) -> None:
    """What is written to the log or a weeks file is what is read from it."""
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_a_figure_that_is_not_finite_is_written_as_no_evidence() -> None:
    """JSON has no NaN; null says honestly that there is no figure."""
    assert Evidence("recall", math.nan, "test", low=-math.inf).to_dict() == {
        "name": "recall", "value": None, "source": "test", "n": None, "low": None, "high": None,
    }  # fmt: skip


def test_numpy_figures_become_plain_ones() -> None:
    """A metric computed by NumPy needs no conversion by its author."""
    written = json.dumps(Evidence("recall", np.float32(0.5), "test", n=np.int64(3)).to_dict())  # type: ignore[arg-type]
    assert json.loads(written)["value"] == 0.5


def test_a_verdict_cannot_contradict_its_gates() -> None:
    """Nobody can build a promotion over a failed gate, or over no gate at all."""
    failed = GateResult("recall", False, "too low")
    with pytest.raises(ValueError, match="contradicts"):
        Verdict("promote", (failed,))
    with pytest.raises(ValueError, match="contradicts"):
        Verdict("promote", ())
    assert Verdict.of((failed,)).refusals == (failed,)


def test_a_decision_has_the_same_id_however_often_it_is_made() -> None:
    """The id depends on what is decided, when and about what; not on figures that a rerun may change."""
    again = Decision.from_dict({**DECISION.to_dict(), "reason": "measured again"})
    assert again.decision_id == DECISION.decision_id
    with pytest.raises(ValueError, match="altered"):
        Decision.from_dict({**DECISION.to_dict(), "at": "2011-01-31T00:00:00"})


@pytest.mark.parametrize("wrong", [{"at": "last Monday"}, {"actor": "somebody"}])
def test_a_decision_needs_a_date_and_a_known_kind_of_actor(wrong: dict[str, str]) -> None:
    """A record that cannot be ordered or attributed is no record."""
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        Decision.from_dict({**DECISION.to_dict(), **wrong})
