"""A fraud candidate is fitted, judged and decided about day by day, in a real registry, and each step is done once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.fraud.small_days import FIRST, SECOND, altered, begun_anew, midnight, ordered, small_days
from tests.training.histories import Killed, KilledAfterRecord
from training.carry_out import carry_out
from training.fraud.artefact import FRAUD
from training.fraud.candidate_decision import candidate_decision
from training.fraud.card_days import CardDays
from training.fraud.daily import (
    fit_candidate,
    fit_in_shadow,
    fitted_on,
    judge_candidate,
    promote_or_refuse,
    recalibrate,
    settle_candidate,
)
from training.fraud.day_split import SHADOW_DAYS, days_before
from training.fraud.model import FraudModel
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases
from training.vocabulary import Decision

AS_OF, LATER = midnight(FIRST), midnight(SECOND)
Parts = Mapping[str, bytes]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_days(tmp_path_factory)


@pytest.fixture(scope="module")
def fit(home: Path) -> Parts:
    """What the first step of the first day left: a first model."""
    cards = begun_anew(home)
    fit_candidate(cards, AS_OF)
    return parts_of(cards, "fit")


@pytest.fixture(scope="module")
def fit_and_judged(home: Path, fit: Parts) -> Parts:
    """It is better than the amount alone."""
    cards = begun_anew(home, fit)
    judge_candidate(cards, AS_OF)
    return parts_of(cards, "fit", "judge")


@pytest.fixture(scope="module")
def fit_and_unsure(home: Path, fit: Parts) -> Parts:
    """The same where the audit has found no fraud at random."""
    cards = begun_anew(home, fit)
    with altered(cards, "audits", days_before(AS_OF, 84), without_random_fraud):
        judge_candidate(cards, AS_OF)
    return parts_of(cards, "fit", "judge")


def parts_of(cards: CardDays, *steps: str) -> Parts:
    return {step: cards.parts.path(AS_OF, step).read_bytes() for step in steps}


def without_random_fraud(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["reason"] != "random") | ~rows["is_fraud"]]


@pytest.fixture
def judged(home: Path, fit_and_judged: Parts) -> CardDays:
    """The first model is judged, and nothing decided."""
    cards = begun_anew(home, fit_and_judged)
    registry(cards).set_aliases(Aliases())
    return cards


@pytest.fixture
def live(judged: CardDays) -> CardDays:
    """The first model is the champion."""
    promote_or_refuse(judged, AS_OF)
    return judged


def registry(cards: CardDays) -> MlflowRegistry[FraudModel]:
    return MlflowRegistry(cards.ws.settings, FRAUD)


def kinds(cards: CardDays) -> list[tuple[str, str]]:
    return [(decision.kind, decision.actor) for decision in cards.ws.decisions.read("fraud")]


def test_the_first_model_beats_the_amount_alone_and_goes_live(judged: CardDays) -> None:
    """Its record says which days it learned, its labels lie beside the tables, and the aliases follow the decision."""
    fit, verdict = (judged.parts.require(AS_OF, step) for step in ("fit", "judge"))
    part = promote_or_refuse(judged, AS_OF)
    version = fit["candidate"]["version"]
    assert part["outcome"] == "promotion"
    assert (part["champion"], part["previous"], part["question"]) == (version, None, None)
    assert verdict["champion"] is None
    assert verdict["evidence"]["loss_over:amount_alone"]["value"] < 0
    assert registry(judged).aliases() == Aliases(champion=version)
    tags = registry(judged).version(version).tags
    assert (tags["as_of"], tags["snapshot_id"]) == (f"{AS_OF:%Y-%m-%d}", fit["candidate"]["snapshot_id"])
    assert json.loads(tags["days"]) == fit["learned_days"] == [str(day) for day in days_before(AS_OF, 84)[:56]]
    learned = pd.read_parquet(judged.learned_path(version))
    assert list(learned) == ["model_version", "transaction_id", "is_fraud"]
    assert 0 < learned["is_fraud"].mean() < 0.1


def test_the_same_inputs_find_the_same_version(home: Path, fit: Parts) -> None:
    """A day that is run again registers nothing."""
    cards = begun_anew(home)
    before = registry(cards).versions()
    again = fit_candidate(cards, AS_OF)["candidate"]
    assert registry(cards).versions() == before
    assert again == json.loads(fit["fit"])["candidate"]
    assert registry(cards).aliases().challenger == again["version"]


def test_nothing_is_fitted_while_training_is_frozen(home: Path) -> None:
    """There is a reason instead of a candidate, and the record says that training was held."""
    cards = begun_anew(home)
    cards.ws.decisions.record(ordered(LATER, frozen=True))
    before = registry(cards).versions()
    assert fit_candidate(cards, LATER)["held"] == "the watch has frozen training"
    assert judge_candidate(cards, LATER)["verdict"] is None
    assert promote_or_refuse(cards, LATER)["outcome"] == "training_held"
    assert registry(cards).versions() == before


def test_nothing_is_recalibrated_while_training_is_frozen(live: CardDays) -> None:
    """A calibration learns from labels, too."""
    live.ws.decisions.record(ordered(LATER, frozen=True))
    assert recalibrate(live, LATER)["held"] == "the watch has frozen training"


def test_what_a_quarantined_source_said_is_left_out_and_recorded(live: CardDays) -> None:
    """The version's record names the source, and the gates see that it was not learned from."""
    live.ws.decisions.record(ordered(LATER, frozen=False, quarantined="analyst_a"))
    version = recalibrate(live, LATER)["candidate"]["version"]
    assert registry(live).version(version).tags["untrusted"] == '["analyst_a"]'
    assert judge_candidate(live, LATER)["evidence"]["label_sources"]["value"] == "analyst_b chargeback"


def test_too_few_days_are_held_with_their_number(home: Path) -> None:
    """Of days that were written, before those that are kept for judging."""
    cards = begun_anew(home)
    early = midnight(FIRST - 54)
    assert fit_candidate(cards, early)["held"] == "16 days can be learned from, 28 needed"


def test_days_without_fraud_are_held(home: Path) -> None:
    """Nobody has said of any payment that it was fraud."""
    cards = begun_anew(home)
    days = days_before(LATER, 84)
    with (
        altered(cards, "labels", days, lambda rows: rows.assign(is_fraud=False)),
        altered(cards, "audits", days, lambda rows: rows.assign(is_fraud=False)),
    ):
        held = fit_candidate(cards, LATER)["held"]
    assert "are of one class (0 fraud)" in held


def test_there_is_nothing_to_recalibrate_without_a_champion(home: Path) -> None:
    """Nor with one of which nobody knows what its trees learned from: then nobody knows, either, on what to judge them."""
    cards = begun_anew(home)
    cards.ws.decisions.record(promoted("99"))
    assert recalibrate(cards, LATER)["held"] == "nobody knows what version 99 learned from"
    cards = begun_anew(home)
    assert recalibrate(cards, LATER)["held"] == "there is no champion to recalibrate"
    judge_candidate(cards, LATER)
    assert promote_or_refuse(cards, LATER)["outcome"] == "training_held"


def test_a_run_that_dies_after_its_record_is_repaired_by_carrying_out(judged: CardDays) -> None:
    """The alias follows, and the day that is run again records nothing more."""
    log = judged.ws.decisions
    judged.ws.decisions = KilledAfterRecord(log.path)
    with pytest.raises(Killed):
        promote_or_refuse(judged, AS_OF)
    assert registry(judged).aliases().champion is None
    judged.ws.decisions = log
    assert carry_out(judged.ws)["fraud"] == registry(judged).aliases() == Aliases(champion=candidate(judged))
    assert promote_or_refuse(judged, AS_OF)["outcome"] == "promotion"
    assert kinds(judged) == [("promotion", "policy")]


def candidate(cards: CardDays) -> str:
    return cards.parts.require(AS_OF, "fit")["candidate"]["version"]


def test_a_candidate_judged_against_what_is_live_no_more_is_refused(judged: CardDays) -> None:
    """It was better than the amount alone, and nobody knows whether it is than the version that is live since."""
    judged.ws.decisions.record(promoted("99"))
    decision = candidate_decision(judged, AS_OF)
    assert (decision.kind, decision.model_version) == ("refusal", candidate(judged))
    assert decision.reason == "judged against no champion, but version 99 is live since"


def promoted(version: str) -> Decision:
    return Decision(
        at=AS_OF.isoformat(), actor="policy", kind="promotion", subject=f"fraud version {version}", action="promote",
        reason="r", model_version=version,
    )  # fmt: skip


def test_recalibration_keeps_the_trees_and_is_judged_beside_the_champion(live: CardDays) -> None:
    """Margins are the champion's to the bit, and what its trees learned from counts as learned."""
    champion = candidate(live)
    part = recalibrate(live, LATER)
    version = part["candidate"]["version"]
    assert part["learned_days"][0] > live.parts.require(AS_OF, "fit")["learned_days"][-1]
    assert not set(part["learned_days"]) & set(part["judged_days"])
    verdict = judge_candidate(live, LATER)
    assert verdict["champion"] == champion
    assert verdict["evidence"]["judged_payments_learned"]["value"] == 0
    old, new = (registry(live).load(name) for name in (champion, version))
    rows = np.random.default_rng(0).normal(size=(50, len(new.names))).astype(np.float32)
    assert np.array_equal(new.margins(rows), old.margins(rows))
    assert new.calibration != old.calibration
    learned = [set(pd.read_parquet(live.learned_path(name))["transaction_id"]) for name in (champion, version)]
    assert learned[0] < learned[1]
    assert promote_or_refuse(live, LATER)["outcome"] in ("promotion", "refusal")


def test_a_day_has_one_candidate(live: CardDays) -> None:
    """Whichever step comes second finds what the first one left."""
    assert recalibrate(live, AS_OF) == fit_candidate(live, AS_OF) == live.parts.require(AS_OF, "fit")


ANSWERS: Sequence[tuple[object, tuple[str, str]]] = [
    ({"chosen_options": ["put it live"], "responded_by_user": {"name": "ana"}}, ("promotion", "person:ana")),
    ({"chosen_options": ["refuse it"], "responded_by_user": {"name": "ana"}}, ("refusal", "person:ana")),
    ({"chosen_options": ["refuse it"], "responded_by_user": None}, ("refusal", "policy-default")),
    (None, ("refusal", "policy-default")),
]


@pytest.fixture
def unsure(home: Path, fit_and_unsure: Parts) -> CardDays:
    """A candidate of which gold has seen too little, and a person who is asked."""
    cards = begun_anew(home, fit_and_unsure)
    assert promote_or_refuse(cards, AS_OF)["outcome"] == "hold"
    return cards


@pytest.mark.parametrize(("answer", "decided"), ANSWERS)
def test_a_person_decides_where_gold_has_seen_too_little(
    unsure: CardDays, answer: dict[str, object] | None, decided: tuple[str, str]
) -> None:
    """The question tells why; the answer, or the default, is recorded beside it, and the aliases follow."""
    question = unsure.parts.require(AS_OF, "promote")["question"]
    assert "gold_sample: 0 frauds in the audit's random part, 10 needed" in question
    assert "| frauds_judged |" in question
    settled = settle_candidate(unsure, AS_OF, answer)
    assert kinds(unsure) == [("hold", "policy"), decided]
    assert settled["champion"] == registry(unsure).aliases().champion
    assert settled["champion"] == (candidate(unsure) if decided[0] == "promotion" else None)


def test_an_answer_about_a_candidate_that_is_overtaken_moves_nothing(unsure: CardDays) -> None:
    """While the person thought, another version went live."""
    other = registered_again(unsure)
    unsure.ws.decisions.record(promoted(other))
    settled = settle_candidate(unsure, AS_OF, {"chosen_options": ["put it live"], "responded_by_user": {"name": "ana"}})
    assert (settled["outcome"], settled["champion"]) == ("refusal", other)
    assert kinds(unsure)[-1] == ("refusal", "person:ana")


def registered_again(cards: CardDays) -> str:
    """The candidate's model as a version of its own."""
    model = registry(cards).load(candidate(cards))
    golden = FRAUD.golden(model, np.zeros((3, len(model.names)), np.float32))
    return registry(cards).register(model, golden=golden, params={}, metrics={}, tags={}, run_name="again").version


def test_nothing_is_settled_where_nothing_was_asked(live: CardDays) -> None:
    """The champion stays, and nothing is recorded."""
    assert settle_candidate(live, AS_OF, None)["decisions"] == []
    assert kinds(live) == [("promotion", "policy")]


def test_a_candidate_in_the_shadow_is_judged_on_days_that_came_after_it(live: CardDays) -> None:
    """It is the challenger for four weeks; then what nobody had seen when it was fitted decides, and it is the challenger no more."""
    fitted = midnight(SECOND - SHADOW_DAYS)
    part = fit_in_shadow(live, fitted)
    version = part["candidate"]["version"]
    assert max(part["learned_days"]) == str(fitted.date() - timedelta(days=15))
    assert min(part["judged_days"]) == str(fitted.date())
    assert registry(live).aliases() == Aliases(champion="1", challenger=version)
    assert (fitted_on(live, LATER), fitted_on(live, AS_OF)) == (fitted, AS_OF)
    judged = judge_candidate(live, LATER)
    assert judged["evidence"]["judged_payments_learned"]["value"] == 0
    assert judged["evidence"]["days_judged"]["n"] == 14
    outcome = promote_or_refuse(live, LATER)
    assert outcome["outcome"] in ("promotion", "refusal")
    assert registry(live).aliases().challenger is None
    assert kinds(live)[1:] == [("shadow", "policy"), (outcome["outcome"], "policy")]


def test_nothing_goes_into_the_shadow_while_training_is_frozen(live: CardDays) -> None:
    """The record says why, and no alias moves."""
    fitted = midnight(SECOND - SHADOW_DAYS)
    live.ws.decisions.record(ordered(fitted, frozen=True))
    assert fit_in_shadow(live, fitted)["held"] == "the watch has frozen training"
    assert kinds(live)[-1] == ("training_held", "policy")
    assert registry(live).aliases() == Aliases(champion="1")
    assert fitted_on(live, LATER) == LATER
