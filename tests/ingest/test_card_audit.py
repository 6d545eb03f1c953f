"""The gold audit draws what it was told to draw, and says the truth about it when it is done."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from ingest.card_audit import AUDITS, Auditable, AuditPlan, draw_audit

MIDNIGHT = datetime(2025, 3, 3)
ROWS = 2_000


def pool(accused: float = 0.1, accused_lately: float = 0.05) -> Auditable:
    """Transactions up to three weeks old, of which the highest scores are fraud."""
    rng = np.random.default_rng(0)
    score = rng.random(ROWS)
    called = rng.random(ROWS)
    return Auditable(
        ids=np.arange(ROWS) + 7,
        fraud=score > 0.98,
        score=score,
        age_days=rng.integers(1, 22, ROWS),
        accused=called < accused,
        accused_lately=called < accused_lately,
    )


def test_each_reason_is_drawn_from_its_own() -> None:
    """Called fraud this week; high scores that nobody called fraud; a week old at random; no more than planned or there are."""
    among = pool()
    drawn = draw_audit(
        among, MIDNIGHT, AuditPlan(accused=20, cleared=500, random=30), np.random.default_rng(1)
    ).to_pandas()
    rows = {reason: part["transaction_id"].to_numpy() - 7 for reason, part in drawn.groupby("reason")}
    assert len(rows["accused"]) == 20
    assert among.accused_lately[rows["accused"]].all()
    assert 0 < len(rows["cleared"]) < 30
    assert not among.accused[rows["cleared"]].any()
    assert (among.score[rows["cleared"]] >= np.quantile(among.score, 0.985)).all()
    assert len(rows["random"]) == 30
    assert ((among.age_days[rows["random"]] >= 7) & (among.age_days[rows["random"]] < 14)).all()


def test_the_youngest_surprises_are_looked_at_first() -> None:
    """Of what was called fraud this week although its score is low; and no transaction is audited for two reasons."""
    among = pool(accused_lately=0.1)
    drawn = draw_audit(among, MIDNIGHT, AuditPlan(), np.random.default_rng(1)).to_pandas()
    chosen = drawn.loc[drawn["reason"] == "surprising", "transaction_id"].to_numpy() - 7
    may_be = among.accused_lately & (among.score < np.quantile(among.score, 0.97))
    assert len(chosen) == AuditPlan().surprising < may_be.sum()
    assert may_be[chosen].all()
    left_out = np.setdiff1d(np.flatnonzero(may_be), chosen)
    assert among.age_days[chosen].max() <= among.age_days[left_out].min()
    assert not set(chosen + 7) & set(drawn.loc[drawn["reason"] == "accused", "transaction_id"])


def test_it_says_the_truth_two_days_later() -> None:
    """Whatever anybody called them before."""
    among = pool()
    drawn = draw_audit(among, MIDNIGHT, AuditPlan(), np.random.default_rng(1))
    assert drawn.schema == AUDITS
    assert (
        drawn["is_fraud"].to_numpy(zero_copy_only=False) == among.fraud[drawn["transaction_id"].to_numpy() - 7]
    ).all()
    assert drawn["arrived_at"].unique().to_pylist() == [datetime(2025, 3, 5)]


def test_nobody_accused_is_no_error() -> None:
    """While labels are held back there is nothing of that kind to draw, and the rest is drawn all the same."""
    drawn = draw_audit(pool(0.0, 0.0), MIDNIGHT, AuditPlan(), np.random.default_rng(1)).to_pandas()
    assert set(drawn["reason"]) == {"cleared", "random"}
