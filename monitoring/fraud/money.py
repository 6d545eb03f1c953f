"""What a drill cost by the truth, under three ways to answer: doing nothing, what our policy does, and retraining on any drift.

| answer | what follows |
|---|---|
| roll back | the version before scores, or, for skew, the features that the lake gives |
| quarantine the batch | its owner mends the feed within two days |
| retrain in the shadow | a challenger is fitted on what is known; it goes live if it is better on the gold audit |
| recalibrate | the same trees, calibrated on what is known |
| ask a person | costs a person; nothing else is assumed |
| anything about labels | scores stay as they are |

The rival retrains whenever some feature's PSI is above .2, at most once a week, on what labels say, and puts it live: the
usual automation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from ingest.card_incidents import first_delivered
from monitoring.fraud.drill import Drilled, clean_branch
from monitoring.fraud.policy import Costs
from monitoring.fraud.stream import INCIDENT_DAY, Lived, Stream
from monitoring.fraud.watch import Watched
from training.fraud.examples import MATURE_DAYS
from training.fraud.model import FraudModel
from training.fraud.operation import OPERATION
from training.fraud.review_queue import in_queue

Floats = NDArray[np.float64]
Score = Callable[[Lived], Floats]

MENDED_AFTER = 2
PSI_LIMIT = 0.2
LEARNED_DAYS = 56


class Money(NamedTuple):
    """Lost a day under each answer, in the currency of the amounts."""

    nothing: float
    ours: float
    retrain_on_drift: float
    retrained_on_drift: int
    """How often the rival retrained."""


def money(drilled: Drilled, costs: Costs | None = None) -> Money:
    """What each answer to a drill would have cost a day, from its first day to its last."""
    costs = costs or Costs()
    days = drilled.lived.days[INCIDENT_DAY:]
    nothing = [_lost(lived, _as_lived(lived), costs) for lived in days]
    rival, times = _rival(drilled, costs)
    return Money(float(np.mean(nothing)), _ours(drilled, costs), float(np.mean(rival)), times)


def _ours(drilled: Drilled, costs: Costs) -> float:
    """Follow the policy's answers: what was answered on a day counts from the next."""
    lost: list[float] = []
    score: Score = _as_lived
    person_called, tried = False, -MATURE_DAYS
    for number, lived in enumerate(drilled.lived.days[INCIDENT_DAY:], start=1):
        seen = drilled.watched.get(number - 1)
        if seen is not None:
            if seen.response.action == "ask_a_person" and not person_called:
                person_called = True
                lost.append(costs.person)
            if seen.response.action == "retrain_in_shadow" and number - tried >= 7:
                tried, score = number, _challenged(drilled, number, score)
            score = _answered(drilled, seen, number, score)
        lost.append(_lost(lived, score(lived), costs))
    return sum(lost) / (len(drilled.lived.days) - INCIDENT_DAY)  # a person's cost is no day of its own


def _answered(drilled: Drilled, seen: Watched, number: int, score: Score) -> Score:
    """How payments are scored after an answer that needs nothing to be fitted."""
    match seen.response.action:
        case "roll_back" if seen.diagnosis.cause == "skew":
            return lambda lived: drilled.lived.models[lived.live].score(lived.features_offline)
        case "roll_back":
            replaced = {name: before for name, _, before in drilled.lived.releases}
            return lambda lived: lived.scores.get(replaced.get(lived.live, ""), _as_lived(lived))
        case "quarantine_batch" if number > 1 + MENDED_AFTER and _stands(drilled, number, seen):
            mended = clean_days(drilled)
            return lambda lived: _mended(mended, lived)
        case "recalibrate":
            model = drilled.lived.models[drilled.lived.live]
            rows = drilled.lived.examples(*_known(number, 7), INCIDENT_DAY + number - 1)
            renewed = model.recalibrated(rows.features, rows.fraud, rows.weights)
            return lambda lived: renewed.score(lived.features_online)
        case _:
            return score


def _stands(drilled: Drilled, number: int, seen: Watched) -> bool:
    """Whether the owner has been told for as long as mending takes."""
    before = drilled.watched.get(number - 1 - MENDED_AFTER)
    return before is None or before.response.action == seen.response.action


def _challenged(drilled: Drilled, number: int, score: Score) -> Score:
    """A challenger goes live if it ranks the audited payments better than what is live."""
    lived, now = drilled.lived, INCIDENT_DAY + number - 1
    challenger = _fitted(drilled, number, aged=7)
    if challenger is None:
        return score
    better = _on_gold(lived, now, _by(challenger)) > _on_gold(lived, now, score)
    return _by(challenger) if better else score


def _known(number: int, aged: int) -> tuple[int, int]:
    """The days to learn from on a day of the drill: eight weeks, of which the newest is so many days old."""
    last = INCIDENT_DAY + number - 1 - aged
    return last - LEARNED_DAYS, last


def _on_gold(stream: Stream, now: int, score: Score) -> float:
    """Average precision on the payments that were audited in the last four weeks."""
    gold = pa.concat_tables([day.audits for day in stream.days[now - 28 : now]]).to_pandas()
    known = stream.world.date_of(now)
    gold = gold[gold["arrived_at"].dt.date < known].drop_duplicates("transaction_id")
    fraud, scores = [], []
    for day in stream.days[now - 49 : now]:
        ids = day.delivered["transaction_id"].to_numpy()
        audited = np.isin(ids, gold["transaction_id"])
        if audited.any():
            scores.append(score(day)[audited])
            fraud.append(day.fraud[audited])
    if not fraud or not np.concatenate(fraud).any():
        return 0.0
    return float(average_precision_score(np.concatenate(fraud), np.concatenate(scores)))


def _rival(drilled: Drilled, costs: Costs) -> tuple[list[float], int]:
    lost: list[float] = []
    score: Score = _as_lived
    last, times = -7, 0
    for number, lived in enumerate(drilled.lived.days[INCIDENT_DAY:], start=1):
        seen = drilled.watched.get(number - 1)
        if seen is not None and number - last >= 7 and _drifted(seen):
            model = _fitted(drilled, number, aged=MATURE_DAYS)
            if model is not None:
                last, times, score = number, times + 1, _by(model)
        lost.append(_lost(lived, score(lived), costs))
    return lost, times


def _by(model: FraudModel) -> Score:
    return lambda lived: model.score(lived.features_online)


def _fitted(drilled: Drilled, number: int, *, aged: int) -> FraudModel | None:
    """A model of what is known on a day of the drill; None where it is of one class only, so that nothing can be learned."""
    try:
        return drilled.lived.examples(*_known(number, aged), INCIDENT_DAY + number - 1).fitted(seed=drilled.seed)
    except ValueError:
        return None


def _drifted(seen: Watched) -> bool:
    return any(standing.value > PSI_LIMIT for name, standing in seen.standings.items() if name.startswith("psi."))


def _as_lived(lived: Lived) -> Floats:
    return lived.scores[lived.live]


def _lost(lived: Lived, scores: Floats, costs: Costs) -> float:
    """What a day cost: fraud that got through, less what reviews save, and good payments that were stopped."""
    blocked = (scores >= OPERATION.blocked_above) & ~lived.decided.explored
    expected_loss = np.where(blocked, -1.0, scores * lived.amount)
    reviewed = in_queue(expected_loss, np.zeros(len(scores), np.int64))
    through = lived.fraud & ~blocked
    saved = costs.recovered * float(lived.amount[through & reviewed].sum())
    return float(lived.amount[through].sum()) - saved + costs.blocked_good * float((blocked & ~lived.fraud).sum())


def clean_days(drilled: Drilled) -> dict[int, Lived]:
    """The days of a drill as they would have been delivered without its incident."""
    days = len(drilled.lived.days) - INCIDENT_DAY
    return {lived.number: lived for lived in clean_branch(drilled.history, days).days[INCIDENT_DAY:]}


def _mended(clean: dict[int, Lived], lived: Lived) -> Floats:
    """The scores of the payments as they should have been delivered, in the order in which they were."""
    day = clean[lived.number]
    ids = day.delivered["transaction_id"].to_numpy()
    wanted = first_delivered(lived.delivered["transaction_id"].to_numpy(), ids)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return day.scores[day.live][at]
