"""Ask a person about a candidate of which gold has seen too little, and turn the answer into a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from training.vocabulary import Decision, DecisionKind

#: What a person may answer, and what is then decided.
CANDIDATE_ANSWERS: Mapping[str, tuple[DecisionKind, str]] = {
    "refuse it": ("refusal", "refuse"),
    "put it live": ("promotion", "promote"),
}
#: Nobody answered in time: the answer that changes nothing.
DEFAULT_CANDIDATE_ANSWER = "refuse it"


def question(decision: Decision) -> str:
    """What a person is shown: the candidate, why the gates leave it to them, and all evidence, as Markdown."""
    figures = [
        f"| {e.name} | {_figure(e.value)} | {_figure(e.low)} to {_figure(e.high)} | {e.n or ''} | {e.source} |"
        for e in decision.evidence
    ]
    table = ["| evidence | value | interval | n | source |", "|---|---|---|---|---|", *figures]
    rival = f"version {decision.previous_version}" if decision.previous_version else "the amount alone"
    asked = f"**Day {decision.at[:10]}: {decision.subject}, judged against {rival}.** All gates passed but: {decision.reason}."
    return "\n".join([asked, "", *table])


def answered(asked: Decision, answer: Mapping[str, Any] | None) -> Decision:
    """What a person decides about the candidate of a `hold`.

    `answer` is what Airflow's human-in-the-loop operator returns: `chosen_options` and `responded_by_user` (None when nobody
    answered in time and the stated default was taken). Raises KeyError for an answer that was not offered.
    """
    given = answer or {}
    choice = (given.get("chosen_options") or [DEFAULT_CANDIDATE_ANSWER])[0]
    user = given.get("responded_by_user")
    kind, action = CANDIDATE_ANSWERS[choice]
    actor = f"person:{user['name']}" if user else "policy-default"
    return replace(asked, actor=actor, kind=kind, action=action, reason=f"{choice}; asked because {asked.reason}")


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
