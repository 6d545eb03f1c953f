"""Answer one customer with the champion: features from the online store, then the same ranking code as the batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from feature_repo.feast_store import FeastStore
from ingest.errors import RegistryError
from training.mlflow_registry import MlflowRegistry
from training.recommender.index import ItemIndex, load_index
from training.recommender.rank import Scorer, recommend
from training.recommender.states import read_states
from training.workspace import Workspace

Scope = Literal["all", "new"]


@dataclass(frozen=True)
class LiveRecommender:
    """The champion in memory with the item side of its week; customers are read from the online store at each request."""

    version: str
    score: Scorer
    index: ItemIndex
    store: FeastStore

    def answer(self, user_id: str, *, k: int, scope: Scope) -> dict[str, Any]:
        """The k best items for a customer; one who is not known gets what an empty history ranks highest."""
        rows = self.store.online("user_id", [user_id])
        lists = recommend(self.score, read_states(rows, self.index), self.index, k=k)
        items = lists[lists["scope"] == scope][["rank", "item_id", "score"]]
        return {
            "user_id": user_id,
            "known": rows["user_orders"].notna().all().item(),
            "model_version": self.version,
            "features_as_of": f"{self.index.as_of:%Y-%m-%d}",
            "items": items.to_dict("records"),
        }


def load_live(ws: Workspace) -> LiveRecommender:
    """Load what the registry says is live. Raises RegistryError when nothing was promoted yet."""
    registry = MlflowRegistry(ws.settings)
    champion = registry.aliases().champion
    if champion is None:
        raise RegistryError(f"No version in {ws.home} has been promoted yet; replay more weeks, or see `mlops status`.")
    latest = datetime.fromisoformat((ws.read_part(ws.weeks_done("features")[-1], "features") or {})["features_as_of"])
    store = FeastStore(ws.features, ws.settings.feast_online)
    return LiveRecommender(champion, registry.scorer(champion), load_index(ws.index_path(latest)), store)
