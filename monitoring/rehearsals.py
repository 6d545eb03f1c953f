"""The incidents of the recommender that are rehearsed: what happens, and what the watch must make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.errors import SettingsError
from ingest.shop_incidents import Kind
from monitoring.policy import RULES
from training.vocabulary import ActionName, DecisionKind

#: What is right where there is nothing to name: what is live is not moved, and nobody is called.
QUIET: frozenset[ActionName] = frozenset({"hold", "retrain"})
JUDGED: frozenset[DecisionKind] = frozenset({"promotion", "refusal"})
REFUSED: frozenset[DecisionKind] = frozenset({"refusal"})
HELD: frozenset[DecisionKind] = frozenset({"training_held"})


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One incident: it happens in the week before a Monday, whose watch must name it."""

    what: str
    causes: tuple[str, ...]
    """Names in the watch's table, each with its action; several where it depends on how much is lost."""

    candidate: frozenset[DecisionKind] = JUDGED
    """What may be decided about that Monday's candidate."""

    after: frozenset[ActionName] = QUIET
    """What may be done on the Monday after."""

    happens: Kind | None = None
    """In the shop or its feed; None for what `drill_harm.HARMS` does to the platform."""

    weeks: int = 1
    """How long it lasts."""

    def named_by(self, cause: str, action: ActionName) -> bool:
        """Whether that is the right answer of the Monday's watch; where nothing happens, any that is quiet."""
        return action == action_of(cause) if cause in self.causes else not self.causes and action in QUIET


REHEARSALS: Mapping[str, Rehearsal] = {
    "skewed_features": Rehearsal(
        what="a job whose stream keeps four weeks overwrites the online rows of some customers",
        causes=("skewed features",),
        candidate=REFUSED,
        after=frozenset({"ask_a_person"}),
        weeks=2,
    ),
    "stale_features": Rehearsal(
        what="Monday's refresh of the online store does not reach some customers",
        causes=("stale features",),
        candidate=REFUSED,
        after=frozenset({"ask_a_person"}),
        weeks=2,
    ),
    "catalogue_change": Rehearsal(
        what="best sellers go overnight, and another supplier's likenesses of them come",
        # By how much is lost: the watch sees what customers no longer find, and not the catalogue.
        causes=("quality lost, no better version", "harmful drift", "quality dipped, no drift"),
        # A candidate that won the changed week may lose the next, and is then rightly taken back.
        after=QUIET | {"ask_a_person", "roll_back"},
        happens="catalogue_change",
    ),
    "broken_feed": Rehearsal(
        what="rows of a delivery have their prices in pence; the right file comes a week later",
        causes=("broken feed",),
        candidate=HELD,
        after=frozenset({"retrain"}),
        happens="pence_feed",
    ),
    "bad_release": Rehearsal(
        what="a version that learned from wrong labels is put live by hand, past the gates",
        causes=("bad release",),
    ),
}
NOTHING = Rehearsal(what="nothing", causes=())


def rehearsal(name: str, strength: float) -> Rehearsal:
    """The incident of that name. Raises SettingsError for one, or a strength, that is not rehearsed."""
    if name not in REHEARSALS:
        raise SettingsError(f"The recommender has no drill {name!r}; choose one of {', '.join(REHEARSALS)}.")
    if not 0 < strength <= 1:
        raise SettingsError(f"Strength {strength:g} cannot be rehearsed; give one above 0 and up to 1.")
    return REHEARSALS[name]


def action_of(cause: str) -> ActionName:
    """What the watch's table says is done about a cause."""
    return next(rule.action for rule in RULES if rule.cause == cause)
