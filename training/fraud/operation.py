"""How the fraud model is operated: what a score leads to, and what mistakes cost in the currency of the amounts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

PaymentDecision = Literal["pay", "block", "explore"]

#: It is no secret: an issuer numbers its payments itself, so nobody who pays can choose to be let through.
SALT = b"fraud exploration"


@dataclass(frozen=True, slots=True)
class OperatingPolicy:
    """What follows from a score. Serving decides by it, and monitoring must know it to read what was decided."""

    blocked_above: float = 0.5
    """Scores are probabilities: below a half, most of what were blocked would be good payments, and each costs a call."""

    explored_share: float = 0.1
    """Of what would be blocked. Nobody charges back what was never paid, so without these only analysts would label it. At one in
    ten, each stands for ten when something is measured, and a tenth of the stopped losses is the price."""

    blocked_good: float = 8.0
    """Costs: a good payment that was stopped. A call, and some of those customers leave."""

    recovered: float = 0.8
    """Share of a fraud's amount that a review in time saves."""

    def decide(self, transaction_id: int, score: float) -> PaymentDecision:
        """What becomes of a payment; the same answer however often, and by whichever worker, it is asked."""
        if score < self.blocked_above:
            return "pay"
        return "explore" if place_of(transaction_id) < self.explored_share else "block"


OPERATION = OperatingPolicy()


def place_of(transaction_id: int) -> float:
    """A payment's place in [0, 1): a hash, evenly spread whatever the ids look like, and independent of the score."""
    digest = hashlib.blake2b(str(transaction_id).encode(), digest_size=8, key=SALT).digest()
    return int.from_bytes(digest) / 2**64
