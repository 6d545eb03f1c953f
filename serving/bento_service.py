"""The BentoML service: `POST /recommend`, `/recommend_batch`, `/explain` and `/score`, the models of one platform in one process.

It is thin: what answers is in `serving.recommender` and `serving.payment_scorer`.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import bentoml
from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound, ServiceUnavailable
from pydantic import Field, ValidationError
from pydantic.warnings import PydanticDeprecationWarning
from pydantic_core import to_json
from starlette.responses import Response

from feature_repo.definitions import CARDS
from feature_repo.feast_store import FeastStore
from ingest.errors import FeatureError
from serving.explain import explanation
from serving.feature_reader import PATIENCE_S, FeatureReader, UserFeatures
from serving.follower import Follower
from serving.guard import NO_MODEL_SCORES, Guard, limits_from_environment
from serving.openapi import page
from serving.payment_scorer import PaymentScorer, Unscored, judge
from serving.prediction_log import PredictionLog
from serving.read_payment import Payment, ReadPayment
from serving.recommender import Asked, Question, Recommender, decide
from serving.release import ServingFolder
from serving.request_fields import Amount, Anybody, Category, Channel, Distance, HowMany, Key, Moment, UserId, Which
from serving.routing import REST
from serving.slots import Slots
from serving.worker_metrics import WorkerMetrics
from training.fraud.card_days import CardDays
from training.fraud.operation import OPERATION
from training.scored_payments import SCHEMA as PAYMENT_SCHEMA
from training.settings import settings_from_environment
from training.workspace import Workspace

# BentoML's code, not ours: warned of at each start, with the paths of this machine.
warnings.filterwarnings("ignore", category=PydanticDeprecationWarning, module="_bentoml")


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
        ws = Workspace(settings_from_environment())
        folder = ServingFolder(ws.home)
        self._follower = Follower(folder)
        self._follower.start()
        self._log = PredictionLog(folder.predictions).__enter__()
        self._store = FeastStore(ws.features, ws.settings.feast_online, patience_s=PATIENCE_S)
        self._recommender = Recommender(self._slots, FeatureReader(self._store).read, self._log)
        self._payment_log = PredictionLog(folder.payments, schema=PAYMENT_SCHEMA).__enter__()
        self._cards = FeastStore(CardDays(ws).features, ws.settings.feast_online, CARDS, patience_s=PATIENCE_S)
        self._scorer = PaymentScorer(
            lambda: self._follower.fraud,
            FeatureReader(self._cards, key="customer_id").read,
            FeatureReader(self._cards, key="terminal_id").read,
            self._payment_log,
        )
        self._metrics = WorkerMetrics(self._follower, {"predictions": self._log, "payments": self._payment_log})
        self._metrics.start()
        self._warm()

    def _warm(self) -> None:
        """Answer somebody before anybody asks: the first read opens the store, and takes longer than a customer may wait."""
        if (slots := self._follower.slots) is not None:
            with suppress(FeatureError):  # then the rungs below are what there is to begin with
                self._store.online_rows("user_id", ["nobody"])
            for scope in ("all", "new"):
                decide(slots, [Asked(Question(None, 10, scope), UserFeatures(None, "no_features"), REST)])
        with suppress(FeatureError):
            for key in ("customer_id", "terminal_id"):
                self._cards.online_rows(key, [0])
        if (fraud := self._follower.fraud) is not None:
            nothing_known = UserFeatures(None, "no_features")
            payment = Payment(0, datetime(2025, 1, 6), 0, 0, 0.0, "fuel", "chip", 0.0)
            judge([ReadPayment(payment, nothing_known, nothing_known)], fraud, OPERATION)
        # What was loaded lives as long as the process: collections need not look at it ever again.
        gc.collect()
        gc.freeze()

    @bentoml.api(route="/recommend")
    async def recommend(
        self,
        user_id: Anybody = None,
        k: HowMany = 10,
        list: Which = "all",  # noqa: A002
    ) -> dict[str, Any]:
        """The k best items for a customer."""
        [answer] = await self._recommender.answer([_question(user_id, k, list)])
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
        return _json({"answers": await self._recommender.answer(questions)})

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
        slots = self._slots()
        if item_id is not None and item_id not in slots.index.number_of:
            raise NotFound(
                f"Item {item_id!r} is not in the catalogue of {slots.index.as_of:%Y-%m-%d}: unknown, or not sold for too long. "
                "Leave item_id out, or name an item that is sold."
            )
        answer, features_s = self._recommender.explain(_question(user_id, k, list))
        return _json(explanation(answer, slots.index, item_id=item_id, features_s=features_s))

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
        answer = await self._scorer.score(payment)
        if isinstance(answer, Unscored):
            raise _unscored(answer)
        return _json(answer)

    def __is_ready__(self) -> bool:
        return self._follower.slots is not None

    @bentoml.on_shutdown
    def close(self) -> None:
        self._metrics.stop()
        self._follower.stop()
        self._log.close()
        self._payment_log.close()

    def _slots(self) -> Slots:
        slots = self._follower.slots
        if slots is None:
            raise ServiceUnavailable("Nothing is released yet; ask again when /readyz says so.")
        return slots


def _question(user_id: str | int | None, k: int, scope: str, endpoint: str = "recommend") -> Question:
    return Question(None if user_id is None or user_id == "" else str(user_id), k, scope, endpoint)


def _unscored(answer: Unscored) -> BentoMLException:
    if answer.why == "too_old":
        return InvalidArgument(answer.said)
    return ServiceUnavailable(NO_MODEL_SCORES if answer.why == "failed" else "No fraud model is released.")


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
