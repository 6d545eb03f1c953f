"""Watch the fraud model of a workspace on a day: evidence, diagnosis, and a decision that is recorded, with a person where asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from monitoring.fraud.answers import ANSWERS
from monitoring.fraud.batches import NEW_DAYS
from monitoring.fraud.figures import Figure, Figures
from monitoring.fraud.folder import read_folder
from monitoring.fraud.ledger import EPOCH, Ledger
from monitoring.fraud.told import as_record
from monitoring.fraud.watch import GAP_DAYS, STRIDE, Past, Watched, watch
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.label_book import CHARGEBACK
from training.promotion import aliases_after
from training.vocabulary import ActionName, Decision, DecisionKind, Evidence

READ_DAYS = 126
"""Of the tables: what a version that left the shadow four weeks ago learned from, and the reference's eight weeks."""
MOST_DAYS = 120
"""Days from which what is usual is read off."""
ANSWERED_DAYS = 7
"""A person's answer to a cause stands for so long; who was asked yesterday is not asked again today."""


def watch_day(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """What the tables show at a midnight, and what is to be done about it; reads nothing that arrived later.

    Raises SourceError when transactions or scores cannot be read.
    """

    def work() -> dict[str, Any]:
        ledger, missing, remarks = _ledger(cards, as_of)
        seen = watch(ledger, _number(as_of), _past(cards, as_of))
        keep(cards, as_of, seen.figures)
        return {
            **as_record(seen, missing, remarks),
            "sources_in_doubt": list(seen.diagnosis.sources_in_doubt),
            "champion": aliases_after(cards.ws.decisions.read(FRAUD.model), FRAUD.model).champion,
            "question": question(seen),
        }

    return cards.parts.once(as_of, "watch", work)


class Again(NamedTuple):
    """Days that were watched, seen again from the tables, and what was missing or odd about these."""

    days: list[Watched]
    ledger: Ledger
    missing: tuple[str, ...]
    remarks: tuple[str, ...]


def watched_again(cards: CardDays, first: datetime, last: datetime) -> Again:
    """What the tables show of the days from first to last; as then, but for a batch that was delivered again since."""
    ledger, missing, remarks = _ledger(cards, first)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return Again([watch(ledger, _number(day), _past(cards, day)) for day in days], ledger, missing, remarks)


def keep(cards: CardDays, as_of: datetime, figures: Figures) -> None:
    """Keep the evidence of a day: on days to come it says what is usual."""
    written = {name: [v if math.isfinite(v) else None for v in figure] for name, figure in figures.items()}
    cards.parts.once(as_of, "evidence", lambda: {"figures": written})


def settle_day(cards: CardDays, as_of: datetime, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Record what was decided on a day, by the policy or by the person it asked.

    `answer` is what Airflow's human-in-the-loop operator returns (`chosen_options`, `responded_by_user`), None where nobody was
    asked. The record orders whether training is frozen and which label sources are left out (`training.fraud.orders`).
    """

    def work() -> dict[str, Any]:
        watched = cards.parts.require(as_of, "watch")
        decision = _recorded(cards, as_of)  # by a run that died after its record: the first answer counts
        if decision is None:
            decision = _by_person(as_of, watched, answer) if answer else _by_policy(cards, as_of, watched)
            cards.ws.decisions.record(decision)
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "cause": watched["cause"],
            "outcome": decision.action,
            "actor": decision.actor,
            "decisions": [decision.decision_id],
        }

    return cards.parts.once(as_of, "settle", work)


def is_to_be_asked(cards: CardDays, as_of: datetime) -> bool:
    """Whether a person is to be asked about a day: never twice about the same day, nor about what was answered lately."""
    watched = cards.parts.require(as_of, "watch")
    settled = cards.parts.read(as_of, "settle") is not None or _recorded(cards, as_of) is not None
    return (
        watched["action"] == "ask_a_person" and not settled and not has_been_answered(cards, as_of, causes_of(watched))
    )


def causes_of(watched: Mapping[str, Any]) -> str:
    """The cause that was named, or the two."""
    return " and ".join(watched["parts"]) or str(watched["cause"])


def _recorded(cards: CardDays, as_of: datetime) -> Decision | None:
    """What was decided on a day about the model, not about one version."""
    return cards.ws.decisions.recorded(as_of.isoformat(), FRAUD.model, "watch", "human_approval")


def has_been_answered(cards: CardDays, as_of: datetime, cause: str) -> Decision | None:
    """A person's answer to this cause (`causes_of`) that still stands."""
    answers = [
        decision
        for decision in cards.ws.decisions.read(FRAUD.model)
        if decision.kind == "human_approval" and cause_of(decision) == cause
    ]
    oldest = as_of - timedelta(days=ANSWERED_DAYS)
    return next((d for d in reversed(answers) if oldest <= datetime.fromisoformat(d.at) < as_of), None)


def cause_of(decision: Decision) -> str | None:
    """The cause that a decision of the watch answers; None for a decision about something else."""
    return next((str(e.value) for e in decision.evidence if e.name == "cause"), None)


def question(seen: Watched) -> str:
    """What a person is shown when asked: the cause, the reason, the evidence, as Markdown."""
    diagnosis, response = seen.diagnosis, seen.response
    rows = [
        f"| {name} | {figure.value:.4g} | {figure.usual:.4g} | {figure.z:+.1f} | {figure.n} |"
        for name, figure in diagnosis.seen.items()
    ]
    causes = " and ".join(diagnosis.parts) or diagnosis.cause
    table = ["| evidence | value | usual | deviations | sample |", "|---|---|---|---|---|", *rows]
    return "\n".join(
        [f"**Fraud, {EPOCH + timedelta(days=seen.day)}: {causes}.** {diagnosis.reason}; {response.why}.", "", *table]
    )


def _by_policy(cards: CardDays, as_of: datetime, watched: Mapping[str, Any]) -> Decision:
    action: ActionName = watched["action"]
    stands = has_been_answered(cards, as_of, causes_of(watched)) if action == "ask_a_person" else None
    if stands is not None:
        reason = f"{causes_of(watched)}: {stands.actor} answered {stands.action} on {stands.at[:10]}"
        return _decision(
            as_of, watched, "watch", "hold", reason, actor="policy", frozen=_froze(stands), ordered=stands.action
        )
    reason = f"{causes_of(watched)}: {watched['why']}"
    return _decision(as_of, watched, "watch", action, reason, actor="policy", frozen=watched["training_frozen"])


def _by_person(as_of: datetime, watched: Mapping[str, Any], answer: Mapping[str, Any]) -> Decision:
    choice, user = answer["chosen_options"][0], answer.get("responded_by_user")
    action = ANSWERS[choice]
    return _decision(
        as_of, watched, "human_approval", action, f"{causes_of(watched)}: {choice}",
        actor=f"person:{user['name']}" if user else "policy-default",
        frozen=action not in ("hold", "retrain_in_shadow"),
    )  # fmt: skip


def _decision(
    as_of: datetime,
    watched: Mapping[str, Any],
    kind: DecisionKind,
    action: ActionName,
    reason: str,
    *,
    actor: str,
    frozen: bool,
    ordered: str = "",
) -> Decision:
    """The record, with its orders: those of the action, or of the answer that still stands (`ordered`)."""
    order = ordered or action
    # Who doubts labels where no source stands out doubts those that everything else rests on.
    doubted = (watched["sources_in_doubt"] or [CHARGEBACK]) if order == "quarantine_labels" else []
    # Batches are looked at some days at a time, and which of them is wrong is not known: all are named, which errs on one side.
    last = NEW_DAYS if order == "quarantine_batch" else 0
    wrong_days = " ".join(f"{as_of - timedelta(days=n):%Y-%m-%d}" for n in range(1, last + 1))
    orders = (
        Evidence("cause", causes_of(watched), "the watch"),
        Evidence("training_frozen", frozen, "the watch"),
        Evidence("quarantined", " ".join(doubted), "the watch"),
        Evidence("quarantined_days", wrong_days, "the watch"),
    )
    figures = tuple(Evidence(n, f["value"], "the tables", n=f["n"]) for n, f in watched["evidence"].items())
    return Decision(
        at=as_of.isoformat(), actor=actor, kind=kind, subject=FRAUD.model, action=action, reason=reason,
        evidence=(*orders, *figures),
    )  # fmt: skip


def _froze(decision: Decision) -> bool:
    return any(e.name == "training_frozen" and bool(e.value) for e in decision.evidence)


def _ledger(cards: CardDays, first: datetime) -> tuple[Ledger, tuple[str, ...], tuple[str, ...]]:
    """All that must be read to watch a day, or any that comes after it."""
    read = read_folder(cards.tables, since=(first - timedelta(days=READ_DAYS)).date())
    return Ledger.of(read.tables), read.missing, read.remarks


def _past(cards: CardDays, as_of: datetime) -> Past:
    """The kept evidence of every other day that may say what is usual."""
    days = [day for day in cards.parts.done("evidence") if _number(day) % STRIDE == 0]
    newest, oldest = as_of - timedelta(days=GAP_DAYS), as_of - timedelta(days=GAP_DAYS + MOST_DAYS)
    return {_number(day): _figures(cards.parts.require(day, "evidence")) for day in days if oldest <= day <= newest}


def _number(as_of: datetime | date) -> int:
    return as_of.toordinal() - EPOCH.toordinal()


def _figures(part: Mapping[str, Any]) -> dict[str, Figure]:
    return {
        name: Figure(math.nan if value is None else value, noise or 0.0, int(n or 0))
        for name, (value, noise, n) in part["figures"].items()
    }
