"""A month's bill of one environment, line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

from infra.cost.pricing import Price
from infra.cost.span import NOTHING, Span


@dataclass(frozen=True, slots=True)
class Line:
    """What some resources cost for one reason. `place` is their address without index, so that environments can be compared."""

    place: str
    addresses: tuple[str, ...]
    what: str
    unit: str
    quantity: Span
    unit_usd: Span
    model: str
    module: str
    prices: tuple[Price, ...]

    @property
    def key(self) -> tuple[str, str]:
        """The same in another environment's bill, whatever it costs there."""
        return self.place, self.what

    @property
    def usd(self) -> Span:
        return self.quantity * self.unit_usd


@dataclass(frozen=True)
class Bill:
    """Lines, dearest first, and the day whose prices they have."""

    environment: str
    on: date
    lines: tuple[Line, ...]

    @cached_property
    def total(self) -> Span:
        return _sum(self.lines)

    @cached_property
    def by_model(self) -> dict[str, Span]:
        return self._by(lambda line: line.model)

    @cached_property
    def by_module(self) -> dict[str, Span]:
        return self._by(lambda line: line.module)

    @cached_property
    def by_key(self) -> dict[tuple[str, str], Line]:
        """Each line by what it is; two bills are compared by these keys."""
        return {line.key: line for line in self.lines}

    @cached_property
    def prices(self) -> Mapping[str, Price]:
        """Every price that the bill rests on."""
        return {price.key: price for line in self.lines for price in line.prices}

    @cached_property
    def unread(self) -> list[str]:
        """Prices that rest on knowledge, or on a share of another price: nobody read them on a page."""
        return sorted(key for key, price in self.prices.items() if price.read is None)

    def _by(self, group: Callable[[Line], str]) -> dict[str, Span]:
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            lines[group(line)].append(line)
        return dict(sorted(((name, _sum(its)) for name, its in lines.items()), key=lambda pair: -pair[1].expected))


def merged(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for what is alike, such as a NAT gateway in each zone; dearest first."""
    alike: dict[tuple[str, str], Line] = {}
    for line in lines:
        known = alike.get(line.key)
        if known and (known.unit_usd, known.model) != (line.unit_usd, line.model):
            own = replace(
                line, place=line.addresses[0]
            )  # of another size or model than its neighbour: both keep a line
            alike[own.key] = own
        else:
            alike[line.key] = _together(known, line) if known else line
    return tuple(sorted(alike.values(), key=lambda line: (-line.usd.expected, -line.usd.ceiling, line.key)))


def _together(one: Line, other: Line) -> Line:
    return replace(one, addresses=(*one.addresses, *other.addresses), quantity=one.quantity + other.quantity)


def _sum(lines: Iterable[Line]) -> Span:
    return sum((line.usd for line in lines), NOTHING)
