"""The BentoML service: `POST /recommend`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import bentoml
from pydantic import Field

from serving.live_recommender import load_live
from training.settings import settings_from_environment
from training.workspace import Workspace


@bentoml.service(
    name="recommender",
    workers=1,
    # BentoML keeps every request's context until this timer ends: at the default minute, garbage collection of millions
    # of objects makes the slowest percent of answers take 100 ms and more.
    traffic={"timeout": 1},
    logging={"access": {"enabled": False}},
)
class RecommenderService:
    """Recommendations of the champion, for one customer at a time."""

    def __init__(self) -> None:
        self._live = load_live(Workspace(settings_from_environment()))

    @bentoml.api(route="/recommend")
    def recommend(
        self,
        user_id: Annotated[
            str | int | None, Field(description="The customer; null or unknown gets the default list.")
        ] = None,
        k: Annotated[int, Field(ge=1, le=100, description="How many items.")] = 10,
        list: Annotated[Literal["all", "new"], Field(description="All items, or only what was never bought.")] = "all",  # noqa: A002
    ) -> dict[str, Any]:
        return self._live.answer(str(user_id) if user_id is not None else "", k=k, scope=list)
