"""The steps by which a fraud candidate is made and decided about: each does its one thing once a day, and leaves a part.

`as_of` is the midnight (naive UTC) at which a step runs; it reads days before it, and of those only what had arrived by then.
The candidate learns from eight weeks of payments whose labels have matured and is judged on newer matured ones. When it is
live, it may be recalibrated instead: then its trees stay. A day has one candidate; whichever step comes first makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from training.carry_out import carry_out
from training.fraud.artefact import FRAUD
from training.fraud.candidate import Lesson, Recipe, fitting, learnable, learned_by, recalibrating, register_candidate
from training.fraud.candidate_decision import candidate_decision, shadow_decision, unless_replaced
from training.fraud.candidate_evidence import Contest, candidate_evidence
from training.fraud.candidate_question import answered, question
from training.fraud.card_days import CardDays
from training.fraud.day_split import SHADOW_DAYS, DaySplit, split_to_calibrate, split_to_fit, split_to_shadow
from training.fraud.day_tables import festive_days, whole_days
from training.fraud.gates import FraudGatePolicy, judge
from training.fraud.model import OneClassError
from training.fraud.orders import Orders, orders_after
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision, Evidence, Verdict

FEWEST_LEARNED_DAYS = 28
"""Four whole weeks, as the simulated issuer's first model had; with fewer, one odd week is a large part of all that is learned."""
FEWEST_CALIBRATED_DAYS = 7
"""A calibration has two numbers: a week of frauds is enough for them."""


def fit_candidate(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Fit a model and register it, unless training is frozen or there is too little to learn from; it can be judged at once.

    The part: `candidate` (version, run_id, fingerprint, snapshot_id) or None with the reason in `held`; `learned_days` and
    `judged_days`, in ISO; `untrusted`, the sources whose labels were left out; `in_shadow`, whether it is judged later.
    """

    def work() -> dict[str, Any]:
        recipe = partial(fitting, cards.ws.settings.seed)
        return _candidate(cards, as_of, split_to_fit(as_of), recipe, fewest=FEWEST_LEARNED_DAYS)

    return cards.parts.once(as_of, "fit", work)


def fit_in_shadow(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Fit on the newest labels that have matured, because something has changed, and let the candidate score in the shadow.

    It is the challenger until it is judged, SHADOW_DAYS later, on payments that neither it nor the champion has learned from.
    Leaves the part of `fit_candidate`.
    """

    def work() -> dict[str, Any]:
        recipe = partial(fitting, cards.ws.settings.seed)
        part = _candidate(cards, as_of, split_to_shadow(as_of), recipe, fewest=FEWEST_LEARNED_DAYS)
        decision = shadow_decision(as_of, part, _champion(cards))
        if (
            cards.ws.decisions.recorded(decision.at, decision.subject, decision.kind) is None
        ):  # else a run died after its record; the champion may have changed since
            cards.ws.decisions.record(decision)
        carry_out(cards.ws)
        return {**part, "in_shadow": True}

    return cards.parts.once(as_of, "fit", work)


def fitted_on(cards: CardDays, as_of: datetime) -> datetime:
    """When the candidate was fitted that is judged on a day: the oldest whose time in the shadow is over, else today's."""
    if judged := cards.parts.read(as_of, "judge"):
        return datetime.fromisoformat(judged["fitted"])
    done = {cards.parts.require(day, "judge")["fitted"] for day in cards.parts.done("judge")}
    due = [
        day
        for day in cards.parts.done("fit")
        if day <= as_of - timedelta(days=SHADOW_DAYS) and f"{day:%Y-%m-%d}" not in done
    ]
    waiting = (day for day in due if (fit := cards.parts.require(day, "fit"))["in_shadow"] and fit["candidate"])
    return next(waiting, as_of)


def recalibrate(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Give the champion's trees a new calibration and register that as a candidate; leaves the part of `fit_candidate`.

    Every other of the newest four matured weeks' days is calibrated on, and the others are judged on. Within two weeks after a
    fit went live the trees have learned from some of the latter, and the gates refuse.
    """

    def work() -> dict[str, Any]:
        champion, nothing = _champion(cards), _reference(as_of, DaySplit((), ()), frozenset())
        if champion is None:
            return {**nothing, "held": "there is no champion to recalibrate"}
        if not cards.learned_path(champion).exists():
            return {**nothing, "held": f"nobody knows what version {champion} learned from"}
        recipe = partial(_recalibrating, cards, champion)
        return _candidate(cards, as_of, split_to_calibrate(as_of), recipe, fewest=FEWEST_CALIBRATED_DAYS)

    return cards.parts.once(as_of, "fit", work)


def judge_candidate(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Gather the evidence about the candidate whose day it is (`fitted_on`), log it with its run, and hold it against the gates.

    The part: `fitted` (its day, in ISO), `champion` (what it was judged against, None for the amount alone), `evidence` by name,
    and `verdict`, None without a candidate. Raises ReplayError when `fit_candidate` or `recalibrate` has not run.
    """

    def work() -> dict[str, Any]:
        fitted, champion = fitted_on(cards, as_of), _champion(cards)
        fit = cards.parts.require(fitted, "fit")
        reference = {"as_of": f"{as_of:%Y-%m-%d}", "fitted": f"{fitted:%Y-%m-%d}", "champion": champion}
        if fit["candidate"] is None:
            return {**reference, "evidence": {}, "verdict": None}
        evidence = _logged_evidence(cards, as_of, fit, champion)
        verdict = Verdict.of(judge(evidence, FraudGatePolicy(), first_model=champion is None))
        return {**reference, "evidence": _as_json(evidence), "verdict": verdict.to_dict()}

    return cards.parts.once(as_of, "judge", work)


def promote_or_refuse(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Record the decision, then let the aliases follow from the record.

    The part: `outcome` (the decision's kind: promotion, refusal, hold, training_held), `decisions` (ids), `champion` and
    `previous` as they are now, and `question`: Markdown for a person when the outcome is `hold`, else None.
    """

    def work() -> dict[str, Any]:
        decision = candidate_decision(cards, as_of)
        return {**_settled(cards, decision), "question": question(decision) if decision.kind == "hold" else None}

    return cards.parts.once(as_of, "promote", work)


def settle_candidate(cards: CardDays, as_of: datetime, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Record what a person decides about a candidate, and let the aliases follow; does nothing on a day that asked nothing.

    `answer` is what Airflow's human-in-the-loop operator returns, its options `candidate_question.CANDIDATE_ANSWERS`. A candidate
    that was judged against a version which is live no more is refused, whatever the answer. The part is like `promote_or_refuse`'s.
    """

    def work() -> dict[str, Any]:
        part = cards.parts.require(as_of, "promote")
        if part["question"] is None:
            return {**part, "decisions": []}
        asked = next(d for d in cards.ws.decisions.read(FRAUD.model) if d.decision_id == part["decisions"][0])
        decision = answered(asked, answer)
        if decision.kind == "promotion":
            decision = unless_replaced(cards, decision)
        # A run that died after its record is not answered anew: the first answer counts.
        first = cards.ws.decisions.recorded(decision.at, decision.subject, "promotion", "refusal")
        decision = first or decision
        return {**_settled(cards, decision), "question": None}

    return cards.parts.once(as_of, "settle_candidate", work)


def is_to_be_settled(cards: CardDays, as_of: datetime) -> bool:
    """Whether a person is to be asked about a day's candidate, and was not yet."""
    return (
        bool(cards.parts.require(as_of, "promote")["question"]) and cards.parts.read(as_of, "settle_candidate") is None
    )


def _candidate(
    cards: CardDays, as_of: datetime, split: DaySplit, recipe: Callable[[], Recipe], *, fewest: int
) -> dict[str, Any]:
    orders, festive = _orders(cards, as_of), festive_days(cards)
    left_out = festive | orders.quarantined_days
    days = tuple(day for day in whole_days(cards, split.learned) if day not in left_out)
    reference = _reference(as_of, DaySplit(days, split.judged), orders.quarantined)
    if orders.training_frozen:
        return {**reference, "held": "the watch has frozen training"}
    if len(days) < fewest:
        return {**reference, "held": f"{len(days)} days can be learned from, {fewest} needed"}
    lesson = Lesson(days, orders.quarantined, learnable(cards, days, as_of, orders.quarantined))
    try:
        return {**reference, "candidate": register_candidate(cards, as_of, lesson, recipe())}
    except OneClassError as error:
        return {**reference, "held": str(error)}


def _reference(as_of: datetime, split: DaySplit, untrusted: frozenset[str]) -> dict[str, Any]:
    days = {f"{name}_days": [str(day) for day in found] for name, found in split._asdict().items()}
    return {
        "as_of": f"{as_of:%Y-%m-%d}",
        "candidate": None,
        "held": None,
        **days,
        "untrusted": sorted(untrusted),
        "in_shadow": False,
    }


def _recalibrating(cards: CardDays, champion: str) -> Recipe:
    return recalibrating(champion, MlflowRegistry(cards.ws.settings, FRAUD).load(champion))


def _logged_evidence(
    cards: CardDays, as_of: datetime, fit: Mapping[str, Any], champion: str | None
) -> dict[str, Evidence]:
    registry, version = MlflowRegistry(cards.ws.settings, FRAUD), fit["candidate"]["version"]
    orders = _orders(cards, as_of)
    judged_days = [
        day for text in fit["judged_days"] if (day := date.fromisoformat(text)) not in orders.quarantined_days
    ]
    contest = Contest(
        candidate=registry.load(version),
        champion=registry.load(champion) if champion else None,
        learned=learned_by(cards, version)["transaction_id"].to_numpy(np.int64),
        judged_days=judged_days,
        untrusted=fit["untrusted"],
    )
    evidence = candidate_evidence(cards, as_of, contest, orders)
    figures = {name: float(e.value) for name, e in evidence.items() if isinstance(e.value, (int, float))}
    registry.log_evaluation(fit["candidate"]["run_id"], figures, {"evidence.json": _as_json(evidence)}, {})
    return evidence


def _as_json(evidence: Mapping[str, Evidence]) -> dict[str, Any]:
    return {name: item.to_dict() for name, item in evidence.items()}


def _orders(cards: CardDays, as_of: datetime) -> Orders:
    return orders_after(cards.ws.decisions.read(FRAUD.model), as_of)


def _champion(cards: CardDays) -> str | None:
    """By the decisions, which the registry's aliases follow."""
    return aliases_after(cards.ws.decisions.read(FRAUD.model), FRAUD.model).champion


def _settled(cards: CardDays, decision: Decision) -> dict[str, Any]:
    cards.ws.decisions.record(decision)
    live = carry_out(cards.ws).get(FRAUD.model, Aliases())
    return {
        "as_of": decision.at[:10],
        "outcome": decision.kind,
        "decisions": [decision.decision_id],
        **{name: version for name, version in asdict(live).items() if name != "challenger"},
    }
