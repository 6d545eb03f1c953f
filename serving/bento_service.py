"""The BentoML service: `POST /recommend`, `/recommend_batch`, `/explain` and `/score`, the models of one platform in one process.

It is thin: what answers is in `serving.recommender` and `serving.payment_scorer`.
"""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import Field, ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from serving.guard import Guard, limits_from_environment
from serving.openapi import page
from serving.questions import Payment, Question
from serving.request_fields import Amount, Anybody, Category, Channel, Distance, HowMany, Key, Moment, UserId, Which


def _is_news(record: logging.LogRecord) -> bool:
    """BentoML logs a bad request with a stack trace; what the asker did wrong is in the answer, and for them alone."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, ValidationError | BentoMLException)


logging.getLogger("bentoml._internal.server.http_app").addFilter(_is_news)


@bentoml.service(
    name="recommender",
    workers=int(os.environ.get("MLOPS_SERVING_WORKERS", "2")),
    # BentoML keeps every request's context until this timer ends: at the default minute, garbage collection of millions
    # of objects makes the slowest percent of answers take 100 ms and more.
    traffic={"timeout": 1},
    logging={"access": {"enabled": False}},
)
class RecommenderService:
    """Recommendations and fraud scores by the versions that the registry's aliases name."""

    def __init__(self) -> None:
        from serving.engine import Engine  # see there why not above

        self._engine = Engine()

    @bentoml.api(route="/recommend")
    async def recommend(
        self,
        user_id: Anybody = None,
        k: HowMany = 10,
        list: Which = "all",  # noqa: A002
    ) -> dict[str, Any]:
        """The k best items for a customer."""
        [answer] = await self._engine.recommend([_question(user_id, k, list)])
        return _json(answer)

    @bentoml.api(route="/recommend_batch")
    async def recommend_batch(
        self,
        user_ids: Annotated[list[UserId], Field(min_length=1, max_length=100)],
        k: HowMany = 10,
        list: Which = "all",  # noqa: A002
    ) -> dict[str, Any]:
        """The k best items for each of some customers, in their order."""
        questions = [_question(user_id, k, list, "recommend_batch") for user_id in user_ids]
        return _json({"answers": await self._engine.recommend(questions)})

    @bentoml.api(route="/explain")
    async def explain(
        self,
        user_id: Anybody = None,
        k: HowMany = 10,
        list: Which = "all",  # noqa: A002
        item_id: Annotated[
            str | None, Field(max_length=128, description="An item to explain besides those on the list.")
        ] = None,
    ) -> dict[str, Any]:
        """One request step by step: features with their age, candidates by source, scores, filters."""
        return _json(self._engine.explain(_question(user_id, k, list), item_id))

    @bentoml.api(route="/score")
    async def score(
        self,
        *,
        transaction_id: Key,
        timestamp: Moment,
        customer_id: Key,
        terminal_id: Key,
        amount: Amount,
        category: Category,
        channel: Channel,
        distance_km: Distance,
    ) -> dict[str, Any]:
        """How likely one payment is fraud, and what becomes of it."""
        payment = Payment(transaction_id, timestamp, customer_id, terminal_id, amount, category, channel, distance_km)
        return _json(await self._engine.score(payment))

    def __is_ready__(self) -> bool:
        return self._engine.ready

    @bentoml.on_shutdown
    def close(self) -> None:
        self._engine.close()


def _question(user_id: str | int | None, k: int, scope: str, endpoint: str = "recommend") -> Question:
    return Question(None if user_id is None or user_id == "" else str(user_id), k, scope, endpoint)


def _json(answer: dict[str, Any]) -> Any:
    """The answer as it goes out. BentoML would make the answer type's JSON schema anew for each response, .3 ms."""
    return Response(to_json(answer, inf_nan_mode="null"), media_type="application/json")


for _api in RecommenderService.apis.values():  # type: ignore[attr-defined]
    # Who writes userid would else get the list of nobody, and never know.
    _api.input_spec.model_config["extra"] = "forbid"
    _api.input_spec.model_rebuild(force=True)
LIMITS = limits_from_environment(os.environ)
PAGE = page(
    {api.route: (api.doc or "", api.input_spec.model_json_schema()) for api in RecommenderService.apis.values()},  # type: ignore[attr-defined]
    security=[{"bearer": []}] if LIMITS.api_keys else [],
)
RecommenderService.add_asgi_middleware(Guard, limits=LIMITS, page=PAGE)  # type: ignore[attr-defined]
