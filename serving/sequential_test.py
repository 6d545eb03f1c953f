"""Test, while the requests come in, whether a bad event is more frequent in the canary than in the control.

The test may be looked at after every block and stopped at any moment: whatever the number of looks, it accuses a canary
that is not worse with probability `alpha` at most. A p-value computed again every second does not have this property.

Each block of answers is a bet against "the canary is not worse", at odds which are fair at best if that is true. The
product of the bets is the e-value; by Ville's inequality it ever reaches 1/alpha with probability alpha at most.
Source: Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
stopping", Journal of Statistical Planning and Inference 230 (2024), arXiv:2106.02693.

What it asks of its caller: the trials are independent (several answers to one customer are not, if that customer's
habits decide the outcome), and when a block is closed does not depend on how its answers went.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

# Both rates start from Beta(0.18, 0.18), which the authors' package safestats takes for its low worst-case regret. It is
# open to rare events: 5 % errors against none are found after 200 requests per slice (median); knowing both rates in
# advance would save 40 of them. Equal priors let the first block teach without a bet.
PRIOR = 0.18
# Never the whole wealth: one batch of odd answers may divide the e-value by 100, not end the test.
MAX_STAKE = 0.99


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was tried in one slice, and how often it went badly."""

    trials: int = 0
    bad: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.trials + other.trials, self.bad + other.bad)

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(self.trials - other.trials, self.bad - other.bad)

    @property
    def share(self) -> float | None:
        return self.bad / self.trials if self.trials else None


@dataclass(frozen=True, slots=True)
class Block:
    """The tallies of both slices over the same time."""

    canary: Tally = Tally()
    control: Tally = Tally()

    def __add__(self, other: "Block") -> "Block":
        return Block(self.canary + other.canary, self.control + other.control)

    @property
    def possible(self) -> bool:
        """False for what only a difference of misread counters can be: less than nothing, or more bad than tried."""
        return all(0 <= tally.bad <= tally.trials for tally in (self.canary, self.control))

    @property
    def compares(self) -> bool:
        return self.canary.trials > 0 and self.control.trials > 0

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(Tally(**record["canary"]), Tally(**record["control"]))


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """The state of the test: what was compared, what waits for the other slice, and the logarithm of the e-value."""

    seen: Block = Block()
    waiting: Block = Block()
    log_e: float = 0.0

    def update(self, block: Block) -> "SequentialTest":
        """Add new trials (a difference, not the cumulative counts); they wait until both slices have at least one.

        Raises ValueError for an impossible block, such as the difference over a counter that restarted. Its caller leaves
        that interval out: what a restarted counter shows may have been counted before.
        """
        if not block.possible:
            raise ValueError(f"No trials look like {block}: hand in differences, and skip those over a restart.")
        ready = self.waiting + block
        if not ready.compares:
            return SequentialTest(self.seen, ready, self.log_e)
        return SequentialTest(self.seen + ready, Block(), self.log_e + float(log_bet(self.seen, ready)))

    def rejects(self, alpha: float) -> bool:
        """Whether the canary is worse, at this level."""
        return self.log_e >= -math.log(alpha)

    @property
    def p_value(self) -> float:
        """The e-value as a p-value that stays valid under peeking: below alpha exactly where the test rejects."""
        return math.exp(min(0.0, -self.log_e))

    @property
    def excess(self) -> float | None:
        """By how much the canary's share of bad trials lies above the control's, or None before any comparison."""
        canary, control = self.seen.canary.share, self.seen.control.share
        return None if canary is None or control is None else canary - control

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(Block.from_dict(record["seen"]), Block.from_dict(record["waiting"]), record["log_e"])


def log_bet(seen: Block, block: Block) -> Any:
    """The logarithm of what the bet on one block returns per unit of wealth; counts may also be arrays of one shape.

    The bet is the likelihood ratio of "the canary's rate is a, the control's is b" to "both have the mean rate m", with
    a > b guessed from what was seen before the block, and m weighted by the block's sizes. Its expectation is at most
    1 while the canary is not worse: it rises with the canary's true rate and falls with the control's, so equal rates
    are the worst case, and there log(1 + x) <= x bounds it, because m is the weighted mean. Staking a part keeps that.
    It holds block by block, so rates may drift over the day as long as they do so for both.
    """
    b = _guess(seen.control)
    # Equal rates return 1: where the canary looks better there is nothing to bet on.
    a = np.maximum(_guess(seen.canary), b)
    m = (block.canary.trials * a + block.control.trials * b) / (block.canary.trials + block.control.trials)
    log_ratio = _log_ratio(block.canary, a, m) + _log_ratio(block.control, b, m)
    stake = _stake(seen, block)
    return np.logaddexp(np.log1p(-stake), np.log(stake) + log_ratio)


def _guess(tally: Tally) -> Any:
    return (tally.bad + PRIOR) / (tally.trials + 2 * PRIOR)


def _log_ratio(tally: Tally, rate: Any, mean: Any) -> Any:
    return tally.bad * np.log(rate / mean) + (tally.trials - tally.bad) * np.log((1 - rate) / (1 - mean))


def _stake(seen: Block, block: Block) -> Any:
    """Bet little on a block much larger than what the guess rests on, such as a day's outcomes after a handful."""
    known = 1 + seen.canary.trials + seen.control.trials
    return np.minimum(MAX_STAKE, known / (block.canary.trials + block.control.trials))
