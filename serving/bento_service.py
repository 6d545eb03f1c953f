"""The BentoML service: `POST /recommend`, `/recommend_batch`, `/explain`; thin, for what answers is in `serving.recommender`."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from contextlib import suppress
from typing import Annotated, Any, Literal

import bentoml
from bentoml.exceptions import BentoMLException, NotFound
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.warnings import PydanticDeprecationWarning
from pydantic_core import PydanticCustomError, to_json
from starlette.responses import Response

from feature_repo.feast_store import FeastStore
from ingest.errors import FeatureError
from serving.explain import explanation
from serving.feature_reader import PATIENCE_S, FeatureReader, UserFeatures
from serving.follower import Follower
from serving.guard import Guard, limits_from_environment
from serving.openapi import page
from serving.prediction_log import PredictionLog
from serving.recommender import Asked, Question, Recommender, decide
from serving.release import ServingFolder
from serving.routing import REST
from serving.slots import Slots
from serving.worker_metrics import WorkerMetrics
from training.settings import settings_from_environment
from training.workspace import Workspace

# BentoML's code, not ours: warned of at each start, with the paths of this machine.
warnings.filterwarnings("ignore", category=PydanticDeprecationWarning, module="_bentoml")


def _number(value: Any) -> Any:
    """Refuse what pydantic takes for a number and JSON does not: true, "3", and 150 digits in quotes; 3.0 is the integer 3."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


UserId = Annotated[str, Field(max_length=128)] | Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_number)]
Anybody = Annotated[UserId | None, Field(description="The customer; null or unknown gets the default list.")]
HowMany = Annotated[int, Field(ge=1, le=100, description="How many items."), BeforeValidator(_number)]
Which = Annotated[Literal["all", "new"], Field(description="All items, or only what was never bought.")]


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
    """Recommendations from the slots that the registry's aliases name."""

    def __init__(self) -> None:
        ws = Workspace(settings_from_environment())
        folder = ServingFolder(ws.home)
        self._follower = Follower(folder)
        self._follower.start()
        self._log = PredictionLog(folder.predictions).__enter__()
        self._store = FeastStore(ws.features, ws.settings.feast_online, patience_s=PATIENCE_S)
        self._recommender = Recommender(self._slots, FeatureReader(self._store).read, self._log)
        self._metrics = WorkerMetrics(self._follower, self._log)
        self._metrics.start()
        self._warm()

    def _warm(self) -> None:
        """Answer somebody before anybody asks: the first read opens the store, and takes longer than a customer may wait."""
        if (slots := self._follower.slots) is not None:
            with suppress(FeatureError):  # then the rungs below are what there is to begin with
                self._store.online_rows("user_id", ["nobody"])
            for scope in ("all", "new"):
                decide(slots, [Asked(Question(None, 10, scope), UserFeatures(None, "no_features"), REST)])
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

    def __is_ready__(self) -> bool:
        return self._follower.slots is not None

    @bentoml.on_shutdown
    def close(self) -> None:
        self._metrics.stop()
        self._follower.stop()
        self._log.close()

    def _slots(self) -> Slots:
        slots = self._follower.slots
        if slots is None:
            raise bentoml.exceptions.ServiceUnavailable("Nothing is released yet; ask again when /readyz says so.")
        return slots


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
