"""Read evidence without guessing: what is missing, empty or not a number is a blind spot, never a default.

Gates and monitoring policy share this reader, so that "no evidence" means the same when a model goes live and when it
is watched.
"""

import math
from collections.abc import Mapping
from numbers import Real

from training.vocabulary import Evidence


class BlindSpot(Exception):  # noqa: N818 - a finding, not an error
    """A rule asked for evidence that is not there; caught where the rules are walked, and turned into a value."""


class EvidenceReader:
    """Hands out usable figures and remembers everything it was asked about, for the record."""

    def __init__(self, evidence: Mapping[str, Evidence]) -> None:
        self._evidence = evidence
        self._seen: dict[str, Evidence] = {}

    @property
    def seen(self) -> tuple[Evidence, ...]:
        """The evidence looked at so far, in the order asked."""
        return tuple(self._seen.values())

    def item(self, name: str) -> Evidence:
        """The evidence as it stands, its figure unchecked."""
        found = self._evidence.get(name)
        if found is None:
            raise BlindSpot(f"{name} is missing")
        self._seen[name] = found
        return found

    def number(self, name: str) -> float:
        return _number(name, self.item(name).value)

    def interval(self, name: str) -> tuple[float, float, float]:
        """Low, value and high; in this order, or it is no interval."""
        found = self.item(name)
        low, value, high = (
            _number(f"{name}.{part}", figure)
            for part, figure in (("low", found.low), ("value", found.value), ("high", found.high))
        )
        if not low <= value <= high:
            raise BlindSpot(f"{name} lies outside its own interval: {value:g} not in [{low:g}, {high:g}]")
        return low, value, high

    def sample(self, name: str) -> int:
        """How many the figure was measured on."""
        return int(_number(f"{name}.n", self.item(name).n))

    def text(self, name: str) -> str:
        value = self.item(name).value
        if not isinstance(value, str) or not value:
            raise BlindSpot(f"{name} is {value!r}, not a text")
        return value

    def flag(self, name: str) -> bool:
        value = self.item(name).value
        if not isinstance(value, bool):
            raise BlindSpot(f"{name} is {value!r}, neither true nor false")
        return value


def _number(name: str, value: object) -> float:
    # A bool is a number to Python, but True is no measurement.
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise BlindSpot(f"{name} is {value!r}, not a finite number")
    return float(value)
