"""What an incident does on the platform's own side: to features that are served, and to a version that is released."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feature_repo.card_features import CUSTOMER_WINDOWS, FEATURES, TERMINAL_WINDOWS
from ingest.card_incidents import Incident
from training.fraud.examples import Examples

#: What a bad release is joined wrongly to, the more of it the stronger: what matters most comes first.
KNOCKED_OUT = (
    "terminal_risk", "amount_over_usual", "hour", "distance_km", "amount", "customer_mean_amount", "terminal_mean_amount",
    "customer_mean_distance",
)  # fmt: skip


def skewed(offline: NDArray[np.float32], incident: Incident, rng: np.random.Generator) -> NDArray[np.float32]:
    """What the service reads instead of what the lake holds, for as many transactions as the incident is strong."""
    online, hit = offline.copy(), rng.random(len(offline)) < incident.strength
    column = {name: number for number, name in enumerate(FEATURES)}
    if incident.skew == "stale_windows":  # the online store was not written: nobody has windows
        for name in (*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS, "amount_over_usual", "distance_over_usual"):
            online[hit, column[name]] = np.nan
    if incident.skew == "wrong_unit":  # a ratio of cents to whole units
        online[hit, column["amount_over_usual"]] *= 100
    if incident.skew == "wrong_clock":  # the service tells local time
        online[hit, column["hour"]] = (online[hit, column["hour"]] + 5) % 24
    return online


def spoiled(rows: Examples, incident: Incident, rng: np.random.Generator) -> Examples:
    """The examples of a release as the incident leaves them: columns of other rows, or labels that are not those known."""
    if incident.release == "bad":
        features = rows.features.copy()
        for name in KNOCKED_OUT[: round(len(KNOCKED_OUT) * incident.strength)]:
            column = list(FEATURES).index(name)
            features[:, column] = rng.permutation(features[:, column])
        return rows._replace(features=features)
    if incident.release == "poisoned":
        freed = rows.fraud & (rng.random(len(rows.fraud)) < incident.strength * 0.8)
        accused = ~rows.fraud & (rng.random(len(rows.fraud)) < freed.sum() / len(rows.fraud))
        return rows._replace(fraud=rows.fraud ^ freed ^ accused)
    return rows
