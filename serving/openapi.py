"""The OpenAPI page: every path, what it takes, and every answer that it gives.

BentoML's own page forgets the integer and the null of a customer's id, calls each answer `object`, and knows neither the guard
nor the errors as they look. The models below describe what `serving.recommender`, `explain` and `payment_scorer` build, for readers
and for tests: an answer goes out unchecked, for that would take longer than ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

Slot = Literal["champion", "challenger", "previous"]
Rung = Literal["fresh", "stale_features", "no_features", "popular_items"]
FraudRung = Literal["fresh", "stale_features", "some_features", "no_features"]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Item(_Described):
    """An item and its place on the list."""

    rank: int = Field(ge=1, le=100)
    item_id: str
    score: float = Field(description="Higher is better; comparable within one list only.")


class Recommendation(_Described):
    """A list for one customer, and how it came about."""

    request_id: str = Field(description="Under which the answer stands in the prediction log.")
    user_id: str | None
    known: bool = Field(description="Whether the feature store has this customer.")
    list: Literal["all", "new"]
    items: tuple[Item, ...] = Field(max_length=100, description="Best first; fewer than k where the catalogue ends.")
    model_version: str | None = Field(description="Null: no model answered, and these are popular items.")
    slot: Slot | None
    features: Rung = Field(description="How fresh what was known of the customer is.")
    features_as_of: Day | None
    index_as_of: Day


class Recommendations(_Described):
    """The lists, in the order in which they were asked for."""

    answers: tuple[Recommendation, ...] = Field(min_length=1, max_length=100)


class Features(_Described):
    """What was known of the customer."""

    rung: Rung
    known: bool
    as_of: Day | None
    days_older_than_index: int | None
    values: dict[str, float | None]
    items_in_history: int


class Source(_Described):
    """Who proposed an item; `place` is null for a source that does not rank."""

    source: str
    place: int | None


class Explained(_Described):
    """An item with its score, its sources, and what the model saw; `why` says what became of it, or why it has no score."""

    item_id: str
    score: float | None
    sources: tuple[Source, ...]
    features: dict[str, float] = Field(default_factory=dict)
    why: str = ""


class Explanation(_Described):
    """One request step by step."""

    answer: Recommendation
    features: Features
    candidates: dict[str, int] = Field(description="How many candidates each source speaks for.")
    items: tuple[Explained, ...]
    asked_about: Explained | None
    steps_ms: dict[str, float]


class Score(_Described):
    """What is made of one payment."""

    request_id: str = Field(description="Under which the answer stands in the log of scored payments.")
    transaction_id: int
    score: float = Field(ge=0, le=1, description="The probability that it will be known as fraud.")
    decision: Literal["pay", "block", "explore"] = Field(
        description="explore: it would be blocked, and is let through to be learned from."
    )
    expected_loss: float = Field(ge=0, description="Score times amount.")
    model_version: str
    features: FraudRung = Field(description="How much was known of customer and terminal.")
    features_as_of: Day | None = Field(description="The midnight at which what was known ends.")
    degraded: str | None = Field(description="What was less than usual, and why; null when nothing was.")


class Wrong(_Described):
    """A field that does not fit."""

    field: str
    message: str


class Error(_Described):
    """What is wrong, and what to do."""

    error: str
    detail: tuple[Wrong, ...] = Field(default=(), description="Each field that does not fit.")


ANSWERS: Mapping[str, type[_Described]] = {
    "/recommend": Recommendation,
    "/recommend_batch": Recommendations,
    "/explain": Explanation,
    "/score": Score,
}
MODELS: Sequence[type[_Described]] = (*ANSWERS.values(), Error)
LOCKED = {"401": "The key is missing, or not one for this path."}
BUSY = {"429": "Too many requests; see Retry-After."}
STATUSES = {
    "400": "The body does not fit the schema; `detail` names each field.",
    **LOCKED,
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    **BUSY,
    "503": "Nothing is released yet.",
    "504": "It took, or the body took, more than a second.",
}
NO_FRAUD_MODEL = {
    "400": "The body does not fit the schema, and `detail` names each field; or the payment is far older than what is known.",
    "503": "No fraud model is released, or none that can score the payment.",
}
UNKNOWN_ITEM = {"404": "Such an item is not in the catalogue."}
#: Where a path answers otherwise than the rest.
OTHERWISE: Mapping[str, Mapping[str, str]] = {"/explain": UNKNOWN_ITEM, "/score": NO_FRAUD_MODEL}
PROBES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "/livez": ("The process lives.", {}),
    "/readyz": ("It has a release to answer with.", {"503": "Nothing is released yet."}),
    "/healthz": ("Another name of /livez.", {}),
}


def page(
    endpoints: Mapping[str, tuple[str, Mapping[str, Any]]], *, security: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The page for these paths, each with its description and the JSON schema of its body.

    `security` is what OpenAPI calls so: empty where anybody may ask.
    """
    described: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in MODELS]
    _, models = models_json_schema(described, ref_template="#/components/schemas/{model}")
    locked, text = {**LOCKED, **BUSY}, ("text/plain", {"type": "string"})
    probes = {path: {"get": {**_read(*said, *text), "security": []}} for path, said in PROBES.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "recommender",
            "version": "1",
            "description": "What each customer may want next, and which payments are fraud.",
        },
        "paths": {
            **probes,
            "/metrics": {"get": _read("Figures for Prometheus.", locked, *text)},
            "/docs.json": {"get": _read("This page.", locked, "application/json", {"type": "object"})},
            **{path: {"post": _ask(path, *endpoint)} for path, endpoint in endpoints.items()},
        },
        "components": {
            "schemas": models["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": list(security),
    }


def _ask(path: str, description: str, body: Mapping[str, Any]) -> dict[str, Any]:
    statuses = {**STATUSES, **OTHERWISE.get(path, {})}
    return {
        "operationId": path.strip("/"),
        "summary": description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _answer("An answer.", "application/json", _ref(ANSWERS[path].__name__)),
            **_errors(statuses),
        },
    }


def _read(description: str, statuses: Mapping[str, str], kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"summary": description, "responses": {"200": _answer("It is so.", kind, schema), **_errors(statuses)}}


def _errors(statuses: Mapping[str, str]) -> dict[str, Any]:
    return {status: _answer(text, "application/json", _ref("Error")) for status, text in statuses.items()}


def _answer(description: str, kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}
