"""The words that every room shares: evidence, gate result, verdict, action and decision, as frozen values.

They carry no behaviour beyond turning into JSON and back, so a verdict reads the same in code, in the registry, in the
decision log and in the report.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from numbers import Real
from typing import Any, Literal, Self

Outcome = Literal["promote", "refuse"]
# The recommender's policy says hold, retrain, roll_back and ask_a_person; the others answer causes that only the fraud model has.
ActionName = Literal[
    "hold", "retrain", "retrain_in_shadow", "recalibrate", "roll_back", "quarantine_batch", "quarantine_labels",
    "freeze_retraining", "ask_a_person",
]  # fmt: skip
DecisionKind = Literal[
    "promotion",
    "refusal",
    "canary",
    "shadow",
    "rollback",
    "hold",
    "watch",
    "human_approval",
    "retrain_request",
    "training_held",
]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A named figure with its source; `n` is the sample, `low` and `high` the interval around `value`."""

    name: str
    value: float | str | bool | None
    source: str
    n: int | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows no NaN: a figure that is not finite is written as null, that is, as no evidence."""
        return {name: _finite(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(**record)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One check, whether it passed, why, and the evidence it looked at."""

    gate: str
    passed: bool
    reason: str
    evidence: tuple[Evidence, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "gate": self.gate,
            "passed": self.passed,
            "reason": self.reason,
            "evidence": [item.to_dict() for item in self.evidence],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(**{**record, "evidence": _evidence(record["evidence"])})


@dataclass(frozen=True, slots=True)
class Verdict:
    """All gates and the outcome; a verdict that contradicts its own gates cannot be built."""

    outcome: Outcome
    gates: tuple[GateResult, ...]

    def __post_init__(self) -> None:
        # No gates at all is no evidence at all, hence a refusal.
        earned: Outcome = "promote" if self.gates and not self.refusals else "refuse"
        if self.outcome != earned:
            raise ValueError(f"A verdict of {self.outcome!r} contradicts its gates, which say {earned!r}: {self.gates}")

    @property
    def refusals(self) -> tuple[GateResult, ...]:
        """The gates that did not pass."""
        return tuple(result for result in self.gates if not result.passed)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All that the gates looked at, each figure once."""
        return tuple({item.name: item for gate in self.gates for item in gate.evidence}.values())

    @classmethod
    def of(cls, gates: tuple[GateResult, ...]) -> Self:
        """The verdict that these gates earn."""
        return cls("promote" if gates and all(result.passed for result in gates) else "refuse", gates)

    def to_dict(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "gates": [result.to_dict() for result in self.gates]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(record["outcome"], tuple(GateResult.from_dict(gate) for gate in record["gates"]))


@dataclass(frozen=True, slots=True)
class Action:
    """What is done about the live model, and the cause it answers; `options` are what a person may choose from."""

    name: ActionName
    cause: str
    reason: str
    evidence: tuple[Evidence, ...] = ()
    options: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cause": self.cause,
            "reason": self.reason,
            "evidence": [item.to_dict() for item in self.evidence],
            "options": list(self.options),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(**{**record, "evidence": _evidence(record["evidence"]), "options": tuple(record["options"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The record of who or what decided, when, on which evidence, about which versions and data.

    `at` is the moment of the data interval (`as_of`, ISO): a rerun must write the same record. Only what a person does
    outside of any run, such as `mlops rollback`, is stamped with the wall clock.
    `actor` is `policy`, `policy-default` (a person was asked and did not answer) or `person:NAME`.
    """

    at: str
    actor: str
    kind: DecisionKind
    subject: str
    action: str
    reason: str
    evidence: tuple[Evidence, ...] = ()
    model_version: str | None = None
    previous_version: str | None = None
    snapshot_id: str | None = None
    run_id: str | None = None

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.at)  # raises ValueError: an undated decision cannot be replayed or ordered
        if self.actor not in ("policy", "policy-default") and not self.actor.startswith("person:"):
            raise ValueError(f"Unknown actor {self.actor!r}: use 'policy', 'policy-default' or 'person:NAME'.")

    @property
    def model(self) -> str:
        """The registered model that it is about, the first word of its subject: `recommender version 3`, `fraud`."""
        return self.subject.partition(" ")[0]

    @property
    def decision_id(self) -> str:
        """A hash of what is decided, when and about what: one such decision per moment, however often it is run."""
        return hashlib.sha256(json.dumps([self.kind, self.at, self.subject]).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"decision_id": self.decision_id, **fields, "evidence": [item.to_dict() for item in self.evidence]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Raises ValueError if the record's id is not the one that its content earns: somebody edited it."""
        fields = {name: value for name, value in record.items() if name != "decision_id"}
        decision = cls(**{**fields, "evidence": _evidence(record["evidence"])})
        if record["decision_id"] != decision.decision_id:
            raise ValueError(f"Decision {record['decision_id']} was altered: its content earns {decision.decision_id}.")
        return decision


def _evidence(records: list[Mapping[str, Any]]) -> tuple[Evidence, ...]:
    return tuple(Evidence.from_dict(record) for record in records)


def _finite(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None  # float() also unwraps NumPy's scalars, unknown to json
