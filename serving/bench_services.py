"""What the service is measured against: BentoML with nothing behind it, and the same ranking behind plain Starlette."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import bentoml
from pydantic import Field
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

WORKERS = int(os.environ.get("MLOPS_SERVING_WORKERS", "2"))


@bentoml.service(name="empty", workers=WORKERS, traffic={"timeout": 1}, logging={"access": {"enabled": False}})
class EmptyService:
    """The same schema and settings as the service, and nothing to do."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()

    @bentoml.api(route="/recommend")
    async def recommend(
        self,
        user_id: str | int | None = None,
        k: Annotated[int, Field(ge=1, le=100)] = 10,  # noqa: ARG002
        list: Literal["all", "new"] = "all",  # noqa: A002, ARG002
    ) -> dict[str, Any]:
        return Response(to_json({"user_id": user_id}), media_type="application/json")  # type: ignore[return-value]


def starlette_app() -> Starlette:
    """The same ranking, features and log, with no schema, no guard, no metrics of the server."""
    from feature_repo.feast_store import FeastStore
    from serving.feature_reader import PATIENCE_S, FeatureReader
    from serving.follower import Follower
    from serving.prediction_log import PredictionLog
    from serving.questions import Question
    from serving.recommender import Recommender
    from serving.release import ServingFolder
    from serving.slots import Slots
    from training.settings import settings_from_environment
    from training.workspace import Workspace

    ws = Workspace(settings_from_environment())
    folder = ServingFolder(ws.home)
    follower, store = Follower(folder), FeastStore(ws.features, ws.settings.feast_online, patience_s=PATIENCE_S)

    def slots() -> Slots:
        assert follower.slots is not None
        return follower.slots

    log = PredictionLog(folder.predictions)
    recommender = Recommender(slots, FeatureReader(store).read, log)

    async def recommend(request: Request) -> Response:
        asked = from_json(await request.body())
        [answer] = await recommender.answer([Question(asked["user_id"], asked["k"], "all")])
        return Response(to_json(answer), media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        follower.start()
        with log:
            gc.collect()
            gc.freeze()
            yield
        follower.stop()

    async def ready(_: Request) -> Response:
        return Response()

    routes = [Route("/recommend", recommend, methods=["POST"]), Route("/readyz", ready)]
    return Starlette(routes=routes, lifespan=lifespan)
