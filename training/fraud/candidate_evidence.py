"""Gather what the gates ask about a candidate from a workspace's days: its labels, matured payments, and gold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.card_features import FEATURES
from training.fraud.card_days import CardDays
from training.fraud.day_split import SPAN_DAYS, days_before
from training.fraud.day_tables import (
    arrived_by,
    moment_of,
    numbers_of,
    read_audits,
    read_labels,
    read_payments,
    whole_days,
)
from training.fraud.examples import Examples, Payments, examples_of
from training.fraud.judging import (
    Gold,
    Matured,
    Operation,
    Rival,
    Scored,
    amount_alone,
    gold_evidence,
    held_out_evidence,
    label_evidence,
    matured_evidence,
)
from training.fraud.label_book import LabelBook
from training.fraud.model import FraudModel
from training.fraud.operation import OPERATION
from training.fraud.orders import Orders
from training.fraud.review_queue import CAPACITY
from training.vocabulary import Evidence

JUDGED_AS = Operation(
    capacity=CAPACITY,
    blocked_above=OPERATION.blocked_above,
    blocked_good=OPERATION.blocked_good,
    recovered=OPERATION.recovered,
)

AMOUNT = list(FEATURES).index("amount")
RANDOM_AGED = (7, 14)
"""How many days old a payment is when it may be drawn into the audit's random part (`ingest.card_audit`): from, and below."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A candidate, what it learned, and whom it is judged against; without a champion, against the amount alone."""

    candidate: FraudModel
    champion: FraudModel | None
    learned: NDArray[np.int64]
    """Ids of all payments that it, or trees it took over, learned from."""
    judged_days: Collection[date]
    untrusted: Collection[str]
    """Sources that it did not learn from."""

    @property
    def rival(self) -> Rival:
        return "champion" if self.champion else "amount_alone"

    def scored(self, rows: Examples) -> Scored:
        """Both on the same payments, as they were served."""
        amount = np.nan_to_num(rows.features[:, AMOUNT].astype(np.float64))
        rival = self.champion.score(rows.features) if self.champion else amount_alone(amount)
        return Scored(rows.ids, rows.days, amount, self.candidate.score(rows.features), rival)


class Said(NamedTuple):
    """The tables of what was said of payments, as of a moment."""

    labels: pd.DataFrame
    audits: pd.DataFrame


def candidate_evidence(cards: CardDays, as_of: datetime, contest: Contest, orders: Orders) -> dict[str, Evidence]:
    """Everything that could be found out as of a midnight, by name; what is missing is for the gates to refuse."""
    seed, rival, moment = cards.ws.settings.seed, contest.rival, moment_of(as_of)
    span = days_before(as_of, SPAN_DAYS)
    days = whole_days(cards, span)
    said = Said(read_labels(cards, days, as_of), arrived_by(read_audits(cards, span), as_of))
    payments = read_payments(cards, days, "features_online")
    every = examples_of(payments, *said, moment, explored_share=OPERATION.explored_share, untrusted=orders.quarantined)
    judged, gold = every.on(numbers_of(contest.judged_days)), _gold(said.audits, every.days)
    matured = Matured(contest.scored(judged), judged.fraud, judged.weights)
    return {
        **_label_evidence(payments, said, moment, contest, orders),
        **held_out_evidence(np.concatenate([judged.ids, gold.ids]), contest.learned),
        **matured_evidence(matured, JUDGED_AS, rival, seed=seed),
        **gold_evidence(contest.scored(every), gold, JUDGED_AS, rival, seed=seed),
    }


def _label_evidence(
    payments: Payments, said: Said, moment: float, contest: Contest, orders: Orders
) -> dict[str, Evidence]:
    learned = np.isin(payments.ids, contest.learned)
    book = LabelBook.with_gold(payments.ids[learned], *said, contest.untrusted)
    frozen, quarantined = orders.training_frozen, orders.quarantined
    return label_evidence(book, payments.days[learned], moment, training_frozen=frozen, quarantined=quarantined)


def _gold(audits: pd.DataFrame, days: NDArray[np.int64]) -> Gold:
    """The audit's random part, and its share of the payments it was drawn from; `days` are those of all payments, in order."""
    random = audits[audits["reason"] == "random"]
    drawn_on = random["drawn_on"].to_numpy()
    begins = np.searchsorted(days, drawn_on - RANDOM_AGED[1], side="right")
    ends = np.searchsorted(days, drawn_on - RANDOM_AGED[0], side="right")
    size = random.groupby("drawn_on")["transaction_id"].transform("size").to_numpy()
    share = size / np.maximum(ends - begins, size)  # a week that was not kept holds fewer than were drawn
    _, first = np.unique(random["transaction_id"], return_index=True)
    return Gold(
        random["transaction_id"].to_numpy(np.int64)[first], random["is_fraud"].to_numpy(bool)[first], share[first]
    )
