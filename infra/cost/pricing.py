"""The price table: what AWS asks for one unit, where that is written, and whether anybody read it there."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from infra.cost.errors import CostError

PRICES = Path(__file__).parent / "prices.toml"


@dataclass(frozen=True, slots=True)
class Price:
    """USD for one unit. `source` is AWS's page, `read` the page on which the number was read, or None when it is from knowledge."""

    key: str
    usd: float
    unit: str
    as_of: date
    source: str
    read: str | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """What was seen of a type's spot market: prices an hour, and the share of machines taken away within a month, low and high."""

    type: str
    usd: tuple[float, float]
    interrupted_a_month: tuple[float, float]
    as_of: date
    source: str
    read: str | None = None


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices of one region on one day; what is not in it is an error, never 0."""

    path: Path
    region: str
    as_of: date
    prices: Mapping[str, Price]
    spots: Mapping[str, Spot]
    elsewhere: Mapping[str, Any]
    standard_until: Mapping[str, date]

    @classmethod
    def read(cls, path: Path = PRICES) -> PriceTable:
        """Read a table; raises CostError when it is not TOML, says too little, or prices something twice."""
        try:
            told = tomllib.loads(path.read_text())
            return cls(
                path,
                told["region"],
                told["as_of"],
                _prices(told["prices"]),
                {spot["type"]: _spot(spot) for spot in told["spot"]},
                told["spot_elsewhere"],
                told["kubernetes_standard_until"]["days"],
            )
        except FileNotFoundError:
            raise CostError(f"{path} does not exist; it is the table of prices.") from None
        except tomllib.TOMLDecodeError as error:
            raise CostError(f"{path} is not TOML: {error}.") from None
        except (KeyError, TypeError) as error:
            raise CostError(
                f"{path} is not as it should be, at {error}: see the blocks that are there for what one says."
            ) from None

    def of(self, key: str) -> Price:
        """A price by its key, `nat.hour`; raises CostError when it has none."""
        try:
            return self.prices[key]
        except KeyError:
            raise CostError(
                f"{key.partition('.')[2]} has no price in {self.region}; add {key!r} to {self.path}, with its source and day."
            ) from None

    def on_demand(self, instance_type: str) -> Price:
        return self.of(f"ec2.{instance_type}")

    def spot(self, instance_type: str) -> Price:
        """The upper end of what was seen, else a share of the on-demand price: an estimate, and so not read anywhere."""
        if seen := self.spots.get(instance_type):
            return Price(f"spot.{seen.type}", seen.usd[1], "instance-hour", seen.as_of, seen.source, seen.read)
        usd = self.on_demand(instance_type).usd * self.elsewhere["share_of_on_demand"]
        about = self.elsewhere
        return Price(f"spot.{instance_type}", usd, "instance-hour", about["as_of"], about["source"])

    def cluster(self, version: str, on: date) -> Price:
        """An EKS cluster's hour on a day: dear once its version has left standard support; raises CostError for a version unheard of."""
        if version not in self.standard_until:
            raise CostError(
                f"Nobody wrote down until when Kubernetes {version} is in standard support, and its price hangs on that; "
                f"add it to kubernetes_standard_until.days in {self.path}."
            )
        return self.of("eks.standard" if on <= self.standard_until[version] else "eks.extended")


def _prices(blocks: list[Mapping[str, Any]]) -> dict[str, Price]:
    prices: dict[str, Price] = {}
    for block in blocks:
        for key, usd in block["usd"].items():
            if key in prices:
                raise CostError(f"{key} is priced twice, {prices[key].usd:g} and {usd:g}; leave one of them.")
            prices[key] = Price(key, usd, block["unit"], block["as_of"], block["source"], block.get("read"))
    return prices


def _spot(told: Mapping[str, Any]) -> Spot:
    low, high = told["usd"]
    rare, often = told["interrupted_a_month"]
    return Spot(told["type"], (low, high), (rare, often), told["as_of"], told["source"], told.get("read"))
