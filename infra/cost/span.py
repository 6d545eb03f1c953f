"""A quantity three times: with everything idle, as expected, and with everything at its maximum."""

from __future__ import annotations

from dataclasses import dataclass

from infra.cost.errors import CostError


@dataclass(frozen=True, slots=True)
class Span:
    """Three numbers that do not fall; sums and products of spans do not fall either."""

    floor: float
    expected: float
    ceiling: float

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.expected <= self.ceiling:
            raise CostError(
                f"Idle {self.floor:g}, expected {self.expected:g}, maximum {self.ceiling:g}: none may be below 0 or below the one before."
            )

    @classmethod
    def always(cls, value: float) -> Span:
        return cls(value, value, value)

    def __add__(self, other: Span) -> Span:
        return Span(self.floor + other.floor, self.expected + other.expected, self.ceiling + other.ceiling)

    def __mul__(self, factor: Span | float) -> Span:
        by = factor if isinstance(factor, Span) else Span.always(factor)
        return Span(self.floor * by.floor, self.expected * by.expected, self.ceiling * by.ceiling)


NOTHING = Span.always(0.0)
