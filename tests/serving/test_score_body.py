"""A payment is taken as the documented table has it, or refused with the field that is wrong and what it should be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serving.bento_service import RecommenderService
from serving.request_fields import AHEAD

INPUT: type[BaseModel] = RecommenderService.apis["score"].input_spec  # type: ignore[attr-defined]
PAYMENT: dict[str, Any] = {
    "transaction_id": 70_000_017, "timestamp": "2025-03-17T12:30:00", "customer_id": 7, "terminal_id": 3, "amount": 40.5,
    "category": "fuel", "channel": "chip", "distance_km": 2,
}  # fmt: skip


def taken(**changed: Any) -> Any:
    return INPUT.model_validate_json(json.dumps(PAYMENT | changed))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("amount", "40.5", "should be a number"),
        ("amount", True, "should be a number"),
        ("amount", None, "valid number"),
        ("amount", -0.01, "greater than or equal to 0"),
        ("amount", float("nan"), "finite number"),
        ("amount", float("inf"), "finite number"),
        ("amount", 1e10, "less than or equal to"),
        ("distance_km", -1, "greater than or equal to 0"),
        ("distance_km", "far", "should be a number"),
        ("transaction_id", "17", "should be a number"),
        ("transaction_id", 1.5, "valid integer"),
        ("transaction_id", -1, "greater than or equal to 0"),
        ("transaction_id", 2**63, "less than 9223372036854775808"),
        ("customer_id", None, "valid integer"),
        ("terminal_id", "T-3", "should be a number"),
        ("category", "", "at least 1 character"),
        ("category", None, "valid string"),
        ("category", "x" * 65, "at most 64 characters"),
        ("channel", 3, "valid string"),
        ("channel", "", "at least 1 character"),
        ("timestamp", 1_742_214_600, "such as 2025-11-03T14:30:00"),
        ("timestamp", "1742214600", "such as 2025-11-03T14:30:00"),
        ("timestamp", "2025-03-17", "such as 2025-11-03T14:30:00"),
        ("timestamp", "yesterday", "such as 2025-11-03T14:30:00"),
        ("timestamp", "2025-02-30T12:00:00", "day value is outside"),
        ("timestamp", "9999-12-31T23:59:59-05:00", "not later than tomorrow"),
        ("timestamp", "0001-01-01T00:00:00+05:00", "after 1999"),
        ("timestamp", "the day after tomorrow", "not later than tomorrow"),
        ("shoe_size", 42, "not permitted"),
    ],
)
def test_what_is_no_payment_is_refused(field: str, value: Any, said: str) -> None:
    """One field is named, and how it should be."""
    if value == "the day after tomorrow":  # not in the table itself: workers must collect the same names
        value = (datetime.now(UTC) + AHEAD + timedelta(minutes=1)).isoformat()
    with pytest.raises(ValidationError) as refused:
        taken(**{field: value})
    [wrong] = refused.value.errors()
    assert wrong["loc"] == (field,)
    assert said in wrong["msg"]


@pytest.mark.parametrize("field", PAYMENT)
def test_every_field_is_needed(field: str) -> None:
    """What is left out is not made up."""
    with pytest.raises(ValidationError, match="Field required"):
        INPUT.model_validate_json(json.dumps({name: value for name, value in PAYMENT.items() if name != field}))


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2025-03-17T12:30:00", datetime(2025, 3, 17, 12, 30)),
        ("2025-03-17 12:30:00.000001", datetime(2025, 3, 17, 12, 30, 0, 1)),
        ("2025-03-17T12:30:00Z", datetime(2025, 3, 17, 12, 30)),
        ("2025-03-17T00:30:00+02:00", datetime(2025, 3, 16, 22, 30)),
    ],
)
def test_a_moment_is_utc_or_has_its_zone(said: str, moment: datetime) -> None:
    """With a zone nothing is unclear, so that it is converted as `mlops diagnose` converts it."""
    assert taken(timestamp=said).timestamp == moment


@pytest.mark.parametrize("field", ["category", "channel"])
def test_what_the_model_does_not_know_is_no_reason_to_refuse(field: str) -> None:
    """A shop of a new kind sells all the same: such a payment is scored as the batch scores it, and the answer says so."""
    assert getattr(taken(**{field: "spaceships"}), field) == "spaceships"


def test_whole_numbers_may_be_written_as_either() -> None:
    """JSON has one kind of number."""
    found = taken(customer_id=7.0, amount=40)
    assert (found.customer_id, found.amount) == (7, 40.0)
