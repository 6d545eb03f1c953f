"""What a plan cannot know: written assumptions, each with its reason, for each environment."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.cost.errors import CostError
from infra.cost.span import Span

USAGE = Path(__file__).parent / "usage.toml"


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing assumed: why, and how much of it idle, expected and at its maximum."""

    key: str
    reason: str
    amount: Span


@dataclass(frozen=True, slots=True)
class Usage:
    """All assumptions about one environment."""

    path: Path
    environment: str
    assumptions: Mapping[str, Assumption]

    @classmethod
    def read(cls, environment: str, path: Path = USAGE) -> Usage:
        """Read the file; raises CostError when it is not TOML, or a table has no reason or no such environment."""
        try:
            told = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise CostError(f"{path} does not exist; it holds what a plan cannot know.") from None
        except tomllib.TOMLDecodeError as error:
            raise CostError(f"{path} is not TOML: {error}.") from None
        return cls(path, environment, {key: _assumption(key, table, environment) for key, table in _tables("", told)})

    def of(self, key: str) -> Span:
        """How much of something; raises CostError when nobody assumed anything."""
        try:
            return self.assumptions[key].amount
        except KeyError:
            raise CostError(
                f"Nobody assumed {key!r} of {self.environment}, and the plan cannot know it; add it to {self.path} with a reason."
            ) from None


def _tables(path: str, told: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Tables that hold no further table, by their dotted name."""
    for name, below in told.items():
        key = f"{path}.{name}" if path else name
        if not isinstance(below, Mapping):
            raise CostError(f"{key} stands alone in the file of assumptions; it wants a table with a reason.")
        yield from _tables(key, below) if any(isinstance(v, Mapping) for v in below.values()) else [(key, below)]


def _assumption(key: str, table: Mapping[str, Any], environment: str) -> Assumption:
    if not table.get("reason"):
        raise CostError(f"{key} is assumed without a reason; give it one sentence.")
    if environment not in table:
        raise CostError(f"{key} is not assumed of {environment}; add {environment} = [idle, expected, at its maximum].")
    amount = table[environment]
    return Assumption(key, table["reason"], Span(*amount) if isinstance(amount, list) else Span.always(amount))
