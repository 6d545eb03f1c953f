"""What is done about each cause, who owns it, and where retraining is out of the question."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.fraud.diagnosis import CAUSES, RULES, Cause, Diagnosis, Tried
from monitoring.fraud.figures import Standing
from monitoring.fraud.policy import (
    FEWEST_VERIFIED,
    MOST_WRONG,
    NEEDED,
    RESPONSES,
    VERIFIED,
    Costs,
    Response,
    respond,
)
from training.vocabulary import ActionName

ROOT = Path(__file__).parents[3]
FAMILY = {rule.cause: rule.family for rule in RULES}

#   cause                  action               owner              training frozen
POLICY_TABLE: list[tuple[Cause, ActionName, str, bool]] = [
    ("none", "hold", "nobody", False),
    ("festival", "hold", "nobody", False),
    ("aftermath", "hold", "nobody", True),
    ("covariate_harmless", "hold", "nobody", False),
    ("covariate_harmful", "retrain_in_shadow", "model owner", False),
    ("concept_new", "retrain_in_shadow", "model owner", False),
    ("concept_mutated", "retrain_in_shadow", "model owner", False),
    ("prior_shift", "recalibrate", "model owner", False),
    ("label_flips", "quarantine_labels", "labels", True),
    ("missed_fraud", "freeze_retraining", "labels", True),
    ("biased_source", "quarantine_labels", "labels", True),
    ("label_delay", "freeze_retraining", "labels", True),
    ("skew", "roll_back", "serving", True),
    ("bad_release", "roll_back", "serving", False),
    ("poisoned_labels", "roll_back", "serving", True),
    ("unit_change", "quarantine_batch", "data platform", True),
    ("nulls", "quarantine_batch", "data platform", True),
    ("stuck_column", "quarantine_batch", "data platform", True),
    ("duplicated_batch", "quarantine_batch", "data platform", True),
    ("time_zone", "quarantine_batch", "data platform", True),
    ("retyped_column", "quarantine_batch", "data platform", True),
    ("new_category", "quarantine_batch", "data platform", True),
    ("missing_batch", "quarantine_batch", "data platform", True),
    ("missing_column", "quarantine_batch", "data platform", True),
    ("two_at_once", "ask_a_person", "on call", True),
    ("unexplained", "ask_a_person", "on call", True),
]


def audited(wrong: float, n: int) -> dict[str, Standing]:
    """The share of the audited labels since the change began that gold contradicts."""
    return {VERIFIED: Standing(wrong, 0.2, 0.05, 0.0, n)}


def rose(days: float) -> dict[str, Standing]:
    """For how many days chargebacks at low scores have been more than usual."""
    return {"charged.days_since_rise": Standing(days, math.nan, math.nan, math.nan, 0)}


def hidden(moved: float, low: float) -> dict[str, Standing]:
    """By how much fraud moved from high scores to low ones, of which analysts may be the cause, and how much customers report there."""
    rest = (
        "score.alerts",
        "middle.average_precision",
        "middle.recall_at_capacity",
        "young.recall_at_capacity",
        "mature.recall_at_capacity",
    )
    off = {"charged.hidden": moved, "charged.low": low, **dict.fromkeys(rest, 0.0)}
    return {name: Standing(z, 0.0, 1.0, z, 100) for name, z in off.items()}


def before(rise: float, z: float) -> dict[str, Standing]:
    """How well payments of the week that ended ten days ago were told from the reference."""
    return {"drift.domain_auc_before": Standing(0.5 + rise, 0.5, 0.01, z, 3_000)}


def off(**figures: float) -> dict[str, Standing]:
    """Figures by how many deviations they are off; an underscore stands for the dot."""
    return {name.replace("_", ".", 1): Standing(z, 0.0, 1.0, z, 100) for name, z in figures.items()}


def queue(clears: float, gap: float, lately: float, n: int = 10, name: str = "analyst_b") -> dict[str, Standing]:
    """How unusual it is what a queue clears of what the other calls fraud, of so many payments that both looked at."""
    figures = {"clears": clears, "gap": gap, "lately": lately}
    return {f"sources.{figure}.{name}": Standing(0.2, 0.1, 0.05, z, n) for figure, z in figures.items()}


SURELY = hidden(8.0, 2.0)
LASTS = before(0.025, 3.0)
SOUND = {
    **off(arrived_analysts=0.0, charged_of_cleared=0.0, charged_back=0.0),
    **queue(0.0, 0.0, 0.0),
    **queue(0.0, 0.0, 0.0, name="analyst_a"),
}
CONFIRMED = {**audited(0.1, 20), **rose(9.0), **SURELY, **LASTS, **SOUND}
UNKNOWN = math.nan


def answer(cause: Cause, loss_a_day: float = 1_000.0, costs: Costs | None = None) -> Response:
    return respond(Diagnosis(cause, "a reason", ()), CONFIRMED, loss_a_day, costs)


@pytest.mark.parametrize(("cause", "action", "owner", "frozen"), POLICY_TABLE)
def test_the_cause_decides_what_is_done(cause: Cause, action: ActionName, owner: str, frozen: bool) -> None:
    """Each cause has one action, one owner, and a word on whether the model may be fitted meanwhile."""
    response = answer(cause)
    assert (response.action, response.owner, response.training_frozen) == (action, owner, frozen)


def test_every_cause_has_a_response_and_a_row() -> None:
    """No diagnosis leaves anybody without an answer, and no answer is untested."""
    assert set(RESPONSES) == set(CAUSES) == {cause for cause, *_ in POLICY_TABLE}


@given(cause=st.sampled_from(CAUSES), loss_a_day=st.floats(0, 1e9))
def test_nothing_is_retrained_while_training_is_frozen(cause: Cause, loss_a_day: float) -> None:
    """Whatever is lost, data or labels in doubt are not learned from."""
    response = answer(cause, loss_a_day)
    assert not (response.training_frozen and response.action in ("retrain", "retrain_in_shadow"))
    if FAMILY.get(cause) in ("batch", "skew", "labels"):
        assert response.training_frozen


@given(cause=st.sampled_from(CAUSES), loss_a_day=st.floats(0, 1e9))
def test_only_payments_and_fraud_lead_to_a_new_fit(cause: Cause, loss_a_day: float) -> None:
    """Retraining and recalibration answer a world that changed, and then in the shadow."""
    action = answer(cause, loss_a_day).action
    assert action != "retrain"
    if action in ("retrain_in_shadow", "recalibrate"):
        assert FAMILY[cause] in ("payments", "fraud")


#   lost a day   action
MONEY_TABLE = [
    (0.0, "hold"),
    (42.8, "hold"),  # 299.6 in a week
    (42.9, "ask_a_person"),  # 300.3
    (float("nan"), "ask_a_person"),  # nobody knows
]


@pytest.mark.parametrize(("loss_a_day", "action"), MONEY_TABLE)
def test_money_decides_what_nothing_explains(loss_a_day: float, action: ActionName) -> None:
    """A person is called when a week of the loss costs as much as the person, and training stays frozen either way."""
    response = answer("unexplained", loss_a_day)
    assert (response.action, response.training_frozen) == (action, True)


def test_an_issuer_sets_its_own_costs() -> None:
    """A person who costs as much as two days of loss is called from that loss on."""
    costs = Costs(person=200.0, worth_a_person=2.0)
    assert answer("unexplained", 99.0, costs).action == "hold"
    assert answer("unexplained", 100.0, costs).action == "ask_a_person"
    assert answer("unexplained", 99.0, costs).why == "99 a day are lost: less in a week than a person costs"


@given(cause=st.sampled_from([cause for cause in CAUSES if cause != "unexplained"]), loss_a_day=st.floats(0, 1e9))
def test_money_decides_nothing_that_has_a_cause(cause: Cause, loss_a_day: float) -> None:
    """What is wrong is mended, however little it costs."""
    assert answer(cause, loss_a_day) == RESPONSES[cause]


@pytest.mark.parametrize("action", sorted({response.action for response in RESPONSES.values()}))
def test_every_action_has_its_runbook(action: ActionName) -> None:
    """Whoever is called finds a page that is named after what is to be done."""
    (runbook,) = {response.runbook for response in RESPONSES.values() if response.action == action}
    assert action in get_args(ActionName)
    assert runbook == f"docs/runbooks/{action}.md"
    assert (ROOT / runbook).is_file()


#   gold                              action
VERIFIED_TABLE = [
    (audited(0.1, 20), "retrain_in_shadow"),
    (audited(MOST_WRONG, FEWEST_VERIFIED), "retrain_in_shadow"),
    (audited(0.0, FEWEST_VERIFIED - 1), "hold"),  # too few to tell
    (audited(float("nan"), 0), "hold"),
    ({}, "hold"),  # no audit has looked at such labels yet
    (audited(MOST_WRONG + 0.01, 20), "ask_a_person"),
]


@pytest.mark.parametrize(("standings", "action"), VERIFIED_TABLE)
@pytest.mark.parametrize("cause", ["concept_new", "concept_mutated", "covariate_harmful"])
def test_retraining_waits_until_gold_confirms_what_it_would_learn(
    cause: Cause, standings: dict[str, Standing], action: ActionName
) -> None:
    """Flipped labels look like a new pattern of fraud until somebody has looked at them; training is frozen meanwhile."""
    response = respond(Diagnosis(cause, "why", ()), {**SURELY, **LASTS, **SOUND, **standings, **rose(9.0)}, 1_000.0)
    assert (response.action, response.training_frozen) == (action, action != "retrain_in_shadow")


#   chargebacks, payments ten days ago        harmful shift        concept drift
WITHOUT_A_RISE = [
    ({**rose(0.0), **LASTS}, "retrain_in_shadow", "hold"),
    ({**rose(0.0), **before(0.02, 3.0)}, "hold", "hold"),
    ({**rose(0.0), **before(0.025, 2.9)}, "hold", "hold"),
    (rose(0.0), "hold", "hold"),
    ({**rose(5.0), **LASTS}, "hold", "hold"),  # they rose, and nobody has looked at them
    ({**rose(UNKNOWN), **LASTS}, "hold", "hold"),  # they may have risen
    (LASTS, "hold", "hold"),
    ({**rose(0.0), **before(UNKNOWN, UNKNOWN)}, "hold", "hold"),
]


@pytest.mark.parametrize(("standings", "harmful", "concept"), WITHOUT_A_RISE)
def test_payments_that_moved_ten_days_ago_need_no_chargebacks(
    standings: dict[str, Standing], harmful: ActionName, concept: ActionName
) -> None:
    """There is nothing for gold to confirm then; but what moved only just may be over before anything is learned."""
    for cause, action in (("covariate_harmful", harmful), ("concept_new", concept), ("concept_mutated", concept)):
        response = respond(Diagnosis(cause, "why", ()), {**SURELY, **SOUND, **standings}, 1_000.0)  # type: ignore[arg-type]
        assert (response.action, response.training_frozen) == (action, action == "hold")


#   what is off, beside a harmful shift that lasts and that gold confirms     retrained on
SHIFT_TABLE = [
    (before(0.0, 0.0), False),  # it only just began: a queue that errs since the same day would not have shown yet
    (queue(1.7, 0.0, 2.4), True),
    (queue(1.3, -0.5, 0.0), False),
    (queue(1.3, -0.4, 0.0), True),
    ({**queue(1.3, -0.4, 0.0), **off(charged_of_cleared=0.2)}, False),  # and customers report what is cleared
    ({**queue(2.3, -0.4, 0.0), **off(charged_of_cleared=-1.0)}, True),  # nobody does
    ({**queue(2.4, -0.5, 0.0), **off(charged_of_cleared=-9.0)}, False),  # chargebacks are out, and say nothing
    (off(charged_of_cleared=UNKNOWN), False),
    (queue(0.0, 0.0, 2.5), False),
    (queue(0.0, 0.0, UNKNOWN), True),  # nothing of the last week, enough of the two before
    (queue(UNKNOWN, 0.0, 0.0), False),
    (queue(0.0, UNKNOWN, 0.0), False),
    (queue(0.0, 0.0, 0.0, n=7), False),
    (queue(0.0, 0.0, 0.0, n=8), True),
    (off(charged_back=-2.6), False),
    (off(charged_back=-2.5), True),
    (off(charged_back=UNKNOWN), False),
    (off(arrived_analysts=-2.0), False),
    (off(arrived_analysts=-1.9), True),
    (off(arrived_analysts=UNKNOWN), False),
]


@pytest.mark.parametrize(("seen", "retrained"), SHIFT_TABLE)
def test_a_harmful_shift_waits_while_labels_are_in_doubt(seen: dict[str, Standing], retrained: bool) -> None:
    """Long before a label fault is sure enough to be named it is enough to wait, and what is not known is no proof."""
    response = respond(Diagnosis("covariate_harmful", "why", ()), {**CONFIRMED, **seen}, 1_000.0)
    assert (response.action, response.training_frozen) == (
        ("retrain_in_shadow", False) if retrained else ("hold", True)
    )


def test_an_issuer_with_one_queue_learns_from_no_shift() -> None:
    """Nobody says whether it hides fraud."""
    seen = {name: figure for name, figure in CONFIRMED.items() if not name.startswith("sources.")}
    assert respond(Diagnosis("covariate_harmful", "why", ()), seen, 1_000.0).action == "hold"


#   what is off, beside concept drift that gold confirms      retrained on
CONCEPT_TABLE = [
    (queue(2.9, 0.0, 2.4), True),
    (queue(2.5, -0.5, 0.0), False),
    ({**queue(2.5, -0.5, 0.0), **off(charged_low=9.0)}, False),  # that drift is real says nothing of the queue
    (queue(0.0, 0.0, 2.5), False),
    (queue(UNKNOWN, 0.0, 0.0), False),
    (off(arrived_analysts=-2.0), False),
    (off(arrived_analysts=UNKNOWN), False),
    (before(0.0, 0.0), True),
]


@pytest.mark.parametrize(("seen", "retrained"), CONCEPT_TABLE)
@pytest.mark.parametrize("cause", ["concept_new", "concept_mutated"])
def test_concept_drift_waits_while_labels_are_in_doubt(
    cause: Cause, seen: dict[str, Standing], retrained: bool
) -> None:
    """Fraud that a queue hides looks like drift; it need not be sure enough to be named."""
    response = respond(Diagnosis(cause, "why", ()), {**CONFIRMED, **seen}, 1_000.0)
    assert (response.action, response.training_frozen) == (
        ("retrain_in_shadow", False) if retrained else ("hold", True)
    )


SURELY_TABLE = [
    (hidden(8.0, 2.0), "retrain_in_shadow"),
    (hidden(7.4, 2.0), "hold"),  # enough to be named
    ({**hidden(4.0, 2.0), **off(young_recall_at_capacity=-8.0)}, "retrain_in_shadow"),  # young labels alone
    ({**hidden(4.0, 2.0), **off(young_recall_at_capacity=-7.8)}, "hold"),
    ({**hidden(4.0, 2.0), **off(mature_recall_at_capacity=-7.0)}, "retrain_in_shadow"),  # older ones alone
    ({**hidden(4.0, 2.0), **off(mature_recall_at_capacity=-6.8)}, "hold"),
    (hidden(12.0, 1.9), "hold"),  # analysts find less, customers report no more
    (hidden(math.nan, 2.0), "hold"),
]


@pytest.mark.parametrize(("standings", "action"), SURELY_TABLE)
@pytest.mark.parametrize("cause", ["concept_new", "concept_mutated"])
def test_concept_drift_is_named_before_it_is_acted_on(
    cause: Cause, standings: dict[str, Standing], action: ActionName
) -> None:
    """What a clean year may show once is worth a name and frozen training, not a new model."""
    response = respond(Diagnosis(cause, "why", ()), {**CONFIRMED, **standings}, 1_000.0)
    assert (response.action, response.training_frozen) == (action, action == "hold")


UNSEEN = [
    (cause, figure)
    for cause in ("concept_new", "prior_shift", "bad_release")
    for figure in NEEDED[RESPONSES[cause].action]
]


@pytest.mark.parametrize(("cause", "figure"), UNSEEN)
def test_what_could_forbid_an_answer_must_have_been_seen(cause: Cause, figure: str) -> None:
    """Nothing that changes what is live, or may become live, is done by itself in the dark; a person is asked."""
    dark = Tried(cause, "fraud", True, "why", {}, (figure,))
    light = Tried(cause, "fraud", True, "why", {}, ("batch.clock",))
    assert respond(Diagnosis(cause, "why", (light,)), CONFIRMED, 0.0).action == RESPONSES[cause].action
    response = respond(Diagnosis(cause, "why", (dark,)), CONFIRMED, 0.0)
    assert (response.action, response.training_frozen) == ("ask_a_person", True)
    assert figure in response.why


@pytest.mark.parametrize("cause", ["skew", "poisoned_labels", "unit_change", "label_flips"])
def test_what_shows_by_itself_needs_nothing_else(cause: Cause) -> None:
    """A mismatch is a mismatch, and to quarantine or to freeze changes nothing that is live."""
    dark = Tried(cause, "batch", True, "why", {}, ("release.gain", "gold.accused_wrong", "skew.mismatch"))
    assert respond(Diagnosis(cause, "why", (dark,)), CONFIRMED, 0.0) == RESPONSES[cause]
