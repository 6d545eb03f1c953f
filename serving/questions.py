"""What the service is asked: about a customer, or about a payment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Question:
    """What a customer is to be told: `user_id` None is somebody nobody knows."""

    user_id: str | None
    k: int
    scope: str
    endpoint: str = "recommend"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the table `transactions` has it; `timestamp` is naive UTC."""

    transaction_id: int
    timestamp: datetime
    customer_id: int
    terminal_id: int
    amount: float
    category: str
    channel: str
    distance_km: float
