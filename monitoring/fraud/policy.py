"""From a cause to what is done about it: kept apart from the diagnosis, so that either can be argued about alone.

Retraining is never automatic while labels, batches, features or the release itself are in doubt: only causes of the payments
and of the fraud lead to it, and then in the shadow, to be promoted by what the gold audit says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from monitoring.fraud.diagnosis import (
    LIMITS,
    SURPRISING,
    Cause,
    Diagnosis,
    Reader,
    enough_doubles,
    fraud_surely_hidden,
    hidden_by,
    payments_moved,
    queues,
)
from monitoring.fraud.figures import Standing
from training.fraud.operation import OPERATION
from training.vocabulary import ActionName

Owner = Literal["nobody", "model owner", "data platform", "serving", "fraud operations", "labels", "on call"]


@dataclass(frozen=True)
class Response:
    """What is done about a cause, who owns it, and what goes with it; the runbook is docs/runbooks/ACTION.md."""

    action: ActionName
    owner: Owner
    why: str
    training_frozen: bool = False
    """Whether the model may not be fitted on what came since: part of every answer to data or labels in doubt."""

    @property
    def runbook(self) -> str:
        return f"docs/runbooks/{self.action}.md"


_QUARANTINE_BATCH = Response(
    "quarantine_batch", "data platform", "what was delivered is wrong; the model cannot mend it", training_frozen=True
)

RESPONSES: Mapping[Cause, Response] = {
    "none": Response("hold", "nobody", "nothing is out of the ordinary"),
    "festival": Response("hold", "nobody", "the calendar says that this passes"),
    "aftermath": Response("hold", "nobody", "the batch is mended; what was delivered wrong is looked at for a week", training_frozen=True),
    "covariate_harmless": Response("hold", "nobody", "the model holds on the new payments"),
    "covariate_harmful": Response("retrain_in_shadow", "model owner", "no label is in doubt, and the payments are new to the model"),
    "concept_new": Response("retrain_in_shadow", "model owner", "labels are verified, and show a pattern the model has not seen"),
    "concept_mutated": Response("retrain_in_shadow", "model owner", "labels are verified, and known fraud looks otherwise"),
    "prior_shift": Response("recalibrate", "model owner", "the order of payments holds, their probabilities do not"),
    "label_flips": Response("quarantine_labels", "labels", "gold contradicts these labels", training_frozen=True),
    "missed_fraud": Response("freeze_retraining", "labels", "fraud that is not labelled would be learned as good", training_frozen=True),
    "biased_source": Response("quarantine_labels", "labels", "one queue would teach the model its own blind spot", training_frozen=True),
    "label_delay": Response("freeze_retraining", "labels", "what has not arrived would be learned as good", training_frozen=True),
    "skew": Response("roll_back", "serving", "features of serving and training differ; retraining would hide it", training_frozen=True),
    "bad_release": Response("roll_back", "serving", "the version before is better on the same payments"),
    "poisoned_labels": Response("roll_back", "serving", "the version learned from labels that are not those known", training_frozen=True),
    "unit_change": _QUARANTINE_BATCH,
    "nulls": _QUARANTINE_BATCH,
    "stuck_column": _QUARANTINE_BATCH,
    "duplicated_batch": _QUARANTINE_BATCH,
    "time_zone": _QUARANTINE_BATCH,
    "retyped_column": _QUARANTINE_BATCH,
    "new_category": _QUARANTINE_BATCH,
    "missing_batch": _QUARANTINE_BATCH,
    "missing_column": _QUARANTINE_BATCH,
    "two_at_once": Response("ask_a_person", "on call", "two causes at once; each answer could spoil the other", training_frozen=True),
    "unexplained": Response("ask_a_person", "on call", "quality fell and no rule says why", training_frozen=True),
}  # fmt: skip


#: What must have been seen before what is live, or may become so, is changed by itself: what is not known cannot be ruled out.
NEEDED: Mapping[ActionName, tuple[str, ...]] = {
    "retrain_in_shadow": (
        "skew.mismatch",
        "drift.domain_auc",
        "arrived.analysts",
        "analysts.over_expected",
        "charged.high",
        "gold.accused_wrong",
    ),
    "recalibrate": ("skew.mismatch", "drift.domain_auc", "arrived.analysts", "gold.accused_wrong"),
    "roll_back": ("release.gain",),
}

#: What retraining would learn anew are frauds with low scores. Flipped labels look the same, until an audit has looked at some
#: of those that came since the change began; an audit of older ones says nothing about them.
VERIFIED = SURPRISING
FEWEST_VERIFIED = LIMITS.fewest_surprising
MOST_WRONG = 0.35  # clean .2; a new pattern .1; one payment in 200 charged back for nothing .7
#: A queue that clears what the other calls fraud hides fraud, and then analysts find less than customers report, as if fraud had
#: gone to low scores. Long before that is sure enough to name the queue it is enough to wait (new patterns reach 2.4 on day 14).
HIDES = 3.0
HIDES_LATELY = 2.5
#: Beside a harmful shift, of which both tell, a queue is another incident, and what it clears is charged back, while of what a shift
#: raised little is. Together they reach 1.7 in most shifts and 2.2 and more with a queue that hides a third, from the tenth day on.
#: Fewer chargebacks than usual speak for a queue up to one deviation: an outage has fewer of all.
CLEARED_IS_CHARGED = 1.8
FEWER_CHARGED = -1.0

#: What has not arrived would be learned as good. One label in four held back is at -4, give or take a half, a clean year at -.8.
SEEMS_SHORT = -2.0

SEEN_BY_THEMSELVES: frozenset[Cause] = frozenset({"skew", "poisoned_labels"})


def needed_but_unseen(diagnosis: Diagnosis) -> bool:
    """Whether something could not be seen that some answer needs."""
    return any(
        name in diagnosis.blind for names in NEEDED.values() for name in names if not name.startswith("release.")
    )


@dataclass(frozen=True)
class Costs:
    """What mistakes cost, in the currency of the amounts; an issuer's own figures belong here."""

    blocked_good: float = OPERATION.blocked_good
    recovered: float = OPERATION.recovered
    person: float = 300.0
    """One incident looked into by a person on call: half a day."""
    worth_a_person: float = 7.0
    """Days over which a loss must exceed a person's cost, before one is called for a cause that nobody can name."""


def respond(
    diagnosis: Diagnosis, standings: Mapping[str, Standing], loss_a_day: float, costs: Costs | None = None
) -> Response:
    """What is done about a diagnosis; `standings` is what it was made from.

    Money decides where the evidence does not: when quality fell and nothing explains it, a person is called if what is lost in a
    week (`loss_a_day`, in the currency of the amounts) is more than what the person costs.
    """
    costs = costs or Costs()
    if diagnosis.cause == "unexplained" and loss_a_day * costs.worth_a_person < costs.person:  # NaN is no small loss
        return Response(
            "hold",
            "nobody",
            f"{loss_a_day:.0f} a day are lost: less in a week than a person costs",
            training_frozen=True,
        )
    response = RESPONSES[diagnosis.cause]
    unseen = [name for name in NEEDED.get(response.action, ()) if name in diagnosis.blind]
    if unseen and diagnosis.cause not in SEEN_BY_THEMSELVES:
        return Response(
            "ask_a_person", "on call",
            f"{response.action} would be the answer, but {', '.join(unseen)} could not be seen, and might forbid it",
            training_frozen=True,
        )  # fmt: skip
    if response.action == "retrain_in_shadow":
        return _once_verified(response, diagnosis.cause, standings)
    return response


def queue_in_doubt(read: Reader, least: float) -> str:
    """Which queue may clear what another calls fraud by so many deviations more than usual; nothing if none does, as far as is known."""
    for name in queues(read):
        if not hidden_by(read, name) < least or read.z(f"sources.lately.{name}") >= HIDES_LATELY:
            return f"{name} may clear more of what another queue calls fraud than it usually does"
    return ""


def shift_lasts(read: Reader) -> bool:
    """Whether payments were already other ones ten days ago: labels that are wrong since would have shown."""
    return payments_moved(read, "drift.domain_auc_before")


def chargebacks_rose(read: Reader) -> bool:
    """Whether what has a low score is charged back more often than usual, or may be."""
    return not read.value("charged.days_since_rise") <= 0


def _once_verified(response: Response, cause: Cause, standings: Mapping[str, Standing]) -> Response:
    """Retraining waits, with training frozen, until gold confirms the labels that speak for it and no queue is in doubt.

    Where payments moved, analysts and customers both say that scores promise too much; if chargebacks at low scores did not
    rise there is nothing for gold to confirm.
    """
    read = Reader(standings, None)
    if not read.z("arrived.analysts") > SEEMS_SHORT:
        return _waits("fewer labels come from a queue than in any clean week")
    if why := _shift_in_doubt(read) if cause == "covariate_harmful" else _concept_in_doubt(read):
        return _waits(why)
    if cause == "covariate_harmful" and not chargebacks_rose(read):
        return response
    audited = standings.get(VERIFIED)
    if audited is None or not audited.n >= FEWEST_VERIFIED:
        return _waits(
            f"of the chargebacks at low scores since they rose {audited.n if audited else 0} were audited (reason surprising), "
            f"{FEWEST_VERIFIED} are needed"
        )
    if audited.value > MOST_WRONG:
        return Response(
            "ask_a_person", "on call",
            f"retraining would be the answer, but of {audited.n} labels since the change began gold contradicts {audited.value:.0%}",
            training_frozen=True,
        )  # fmt: skip
    return response


def _concept_in_doubt(read: Reader) -> str:
    """Why what looks like new fraud may be something else; nothing if it is sure."""
    if why := queue_in_doubt(read, HIDES):
        return why
    if not fraud_surely_hidden(read):
        return "fraud at low scores is more than usual, but not by as much as could be acted on"
    return ""


def _shift_in_doubt(read: Reader) -> str:
    """Why more may be wrong than payments that the model does not know; nothing if it is sure."""
    if not queues(read) or not all(enough_doubles(read, name) for name in queues(read)):
        return "too few payments were looked at by two queues to say whether one hides fraud"
    charged = max(read.z("charged.of_cleared"), FEWER_CHARGED)  # in this order what is not known stays so
    if why := queue_in_doubt(read, CLEARED_IS_CHARGED - charged):
        return why
    if not read.z("charged.back") > LIMITS.not_charged_back:
        return "what analysts called fraud may be charged back less than usual"
    if not shift_lasts(read):
        return "it is not known that payments were others ten days ago already: they may be again what they were"
    return ""


def _waits(why: str) -> Response:
    return Response("hold", "labels", f"retraining waits: {why}", training_frozen=True)
