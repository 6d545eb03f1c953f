"""What is lost a day is what nobody stopped, and is not known without labels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from monitoring.fraud.ledger import Ledger
from monitoring.fraud.watch import loss_a_day
from tests.monitoring.fraud.small_issuer import AS_OF, epoch_day, tables


def test_what_is_lost_is_fraud_that_was_paid_and_that_no_analyst_saw() -> None:
    """By labels as they stand: charged back, neither blocked nor reviewed, five to fifteen days old."""
    given = tables()
    day = epoch_day(AS_OF)
    labels = given.labels[given.labels["arrived_at"] < np.datetime64(day, "D")]
    analysts = labels[labels["source"].str.startswith("analyst")]["transaction_id"]
    charged = labels[(labels["source"] == "chargeback") & ~labels["transaction_id"].isin(analysts)]["transaction_id"]
    blocked = given.scores.loc[given.scores["blocked"], "transaction_id"]
    audited = given.audits["transaction_id"] if given.audits is not None else []
    lost = 0.0
    for on, batch in given.batches.items():
        if 5 < day - (on - type(on)(1970, 1, 1)).days <= 15:
            rows = batch.to_pandas()
            hit = rows["transaction_id"].isin(charged) & ~rows["transaction_id"].isin([*blocked, *audited])
            lost += float(rows.loc[hit, "amount"].sum())
    assert lost > 0
    assert loss_a_day(Ledger.of(given), day) == pytest.approx(lost / 10, rel=0.2)  # what was audited is gold's word


def test_without_labels_it_is_not_known() -> None:
    """Nothing known is not nothing lost."""
    given = tables()
    bare = replace(given, labels=given.labels.iloc[:0], audits=None)
    assert math.isnan(loss_a_day(Ledger.of(bare), epoch_day(AS_OF)))
