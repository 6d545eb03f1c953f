"""Which slot answers whom: a customer's place between 0 and 1 is a hash, so that it stays the same on every worker and every day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from serving.release import SlotName, Traffic

Slice = Literal["canary", "control", "rest", "shadow"]

#: Changing it deals customers anew, so that not always the same ones try what is new.
SALT = b"recommender"


@dataclass(frozen=True, slots=True)
class Route:
    """The slot that answers, and the slice by which the answer is counted."""

    slot: SlotName
    slice: Slice


REST = Route("champion", "rest")
CANARY = Route("challenger", "canary")
CONTROL = Route("champion", "control")


def place_of(user_id: str) -> float:
    """A customer's place in [0, 1): sticky, and evenly spread whatever the ids look like."""
    digest = hashlib.blake2b(user_id.encode(), digest_size=8, key=SALT).digest()
    return int.from_bytes(digest) / 2**64


def route(user_id: str | None, traffic: Traffic) -> Route:
    """Who answers this customer.

    The canary's customers are those below its share, its control as many at the other end: both slices begin when the
    stage begins, and a customer once in the canary stays there while the share grows. Between them, and for whoever has
    no id to be recognised by, the champion answers uncounted.
    """
    if traffic.mode != "canary" or user_id is None:
        return REST
    place = place_of(user_id)
    if place < traffic.share:
        return CANARY
    return CONTROL if place >= 1 - traffic.share else REST
