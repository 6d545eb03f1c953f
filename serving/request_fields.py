"""What the fields of a request may be, and what is said of a value that does not fit; BentoML has pydantic check them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


def _number(value: Any) -> Any:
    """Refuse what pydantic takes for a number and JSON does not: true, "3", and 150 digits in quotes; 3.0 is the integer 3."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


UserId = Annotated[str, Field(max_length=128)] | Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_number)]
Anybody = Annotated[UserId | None, Field(description="The customer; null or unknown gets the default list.")]
HowMany = Annotated[int, Field(ge=1, le=100, description="How many items."), BeforeValidator(_number)]
Which = Annotated[Literal["all", "new"], Field(description="All items, or only what was never bought.")]

#: Local time for UTC, or a clock that is ahead, makes a payment some hours too late. The watch finds that; nobody waits for it.
AHEAD = timedelta(days=1)
#: Before, a clock was never set.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _text_of_a_moment(value: Any) -> Any:
    """Refuse what pydantic takes for a moment, too: seconds since 1970, in quotes or not, and a day without its time."""
    if not isinstance(value, str) or ":" not in value:
        raise PydanticCustomError("moment_type", "Input should be a moment in UTC as text, such as 2025-11-03T14:30:00")
    return value


def _utc_by_now(value: datetime) -> datetime:
    """The moment as the transactions table has it, UTC without a zone; one that no payment was made at is refused."""
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if not EARLIEST <= moment <= datetime.now(UTC) + AHEAD:
        raise PydanticCustomError(
            "moment_unlikely", "Input should be when the payment was made: after 1999, and not later than tomorrow"
        )
    return moment.astimezone(UTC).replace(tzinfo=None)


Key = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_number)]
Moment = Annotated[
    datetime,
    BeforeValidator(_text_of_a_moment),
    AfterValidator(_utc_by_now),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(description="When it was made: UTC, or with its zone."),
]
Amount = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False, description="In the issuer's currency."), BeforeValidator(_number)
]
Category = Annotated[
    str,
    Field(min_length=1, max_length=64, description="One that the model does not know is scored as unknown, and told."),
]
Channel = Annotated[
    str, Field(min_length=1, max_length=64, description="`online`, or anything else for a card that is there.")
]
Distance = Annotated[
    float,
    Field(ge=0, le=50_000, allow_inf_nan=False, description="From the customer's home."),
    BeforeValidator(_number),
]
