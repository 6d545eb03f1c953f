"""Hold every setting of the platform, built once from a workspace and the environment, and frozen.

A setting comes from, in this order: an `MLOPS_<NAME>` environment variable, the workspace's `settings.json`, the default
written here. An unknown name in either place is refused, because a misspelt setting that is ignored is a wrong one.
"""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ingest.errors import SettingsError
from ingest.whole_files import write_json

PREFIX = "MLOPS_"


class Settings(BaseModel):
    """All settings; thresholds of the gates and of the policy live with them as `GatePolicy` and `WatchPolicy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """The workspace: lake, features, registry, recommendations, decisions."""

    source: Literal["shop", "online-retail", "interactions"] = "shop"
    data: Path | None = None
    encoding: str = "utf-8"
    date_order: Literal["day-first", "month-first"] | None = None
    purchase_events: tuple[str, ...] = ("purchase",)
    start: date = date(2011, 1, 24)
    """The first Monday on which the loop runs; all that arrived before it is history."""

    seed: int = 7
    scale: int = Field(default=1, ge=1)
    """How many times the rows the simulated shop has; for measuring growth."""

    card_payments: int = Field(default=4_200, ge=500, le=100_000)
    """Payments a day of the simulated card issuer; what is usual was learned at the default."""

    label_weeks: int = Field(default=26, ge=1, le=104)
    """Weeks of labels that a ranker learns from. 26 beat 12 (NDCG@10 .352 against .347 on four real weeks)."""

    online_store: Literal["sqlite", "redis"] = "sqlite"
    redis_url: str = "localhost:6379"
    tracking_uri: str | None = None
    """MLflow's tracking and registry; by default a SQLite file in the workspace."""

    evidently_url: str | None = None
    """Evidently's server on this workspace, which shows what is new when it is told to read it; by default nobody is told."""

    release: Literal["direct", "canary"] = "direct"
    """What a version that passed every gate gets: all customers at once, or a growing share while it is compared with the
    champion. A canary needs the service and its traffic; a replay of past weeks has neither."""

    serving_workers: int = Field(default=2, ge=1, le=64)
    """Processes that answer; two, so that one may die."""

    serving_rate: float = Field(default=2_000.0, gt=0)
    """Requests a second of each key in each worker; more are turned away. Without keys, of each address."""

    human_timeout_s: float = Field(default=7 * 24 * 3600.0, ge=0)
    """How long a person has to answer before the stated default is taken."""

    @field_validator("start")
    @classmethod
    def _is_a_monday(cls, value: date) -> date:
        if value.weekday() != 0:
            monday = value - timedelta(days=value.weekday())
            raise ValueError(f"{value} is a {value:%A}; weeks begin on Mondays, the one before it is {monday}")
        return value

    @property
    def mlflow_uri(self) -> str:
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def feast_online(self) -> dict[str, str] | None:
        return {"type": "redis", "connection_string": self.redis_url} if self.online_store == "redis" else None


def build_settings(home: Path, **given: Any) -> Settings:
    """Settings of a workspace: what is given, under what its file holds, under what the environment says.

    Raises SettingsError for an unknown name or a value that does not fit.
    """
    path = home / "settings.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # MLOPS_HOME says where the workspace is; it is how this function is found, not a setting to be overridden.
    environment = {
        k[len(PREFIX) :].lower(): v for k, v in os.environ.items() if k.startswith(PREFIX) and k != "MLOPS_HOME"
    }
    try:
        return Settings(**{**stored, **given, **environment, "home": home.resolve()})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}={e.get('input')!r}: {e['msg']}" for e in error.errors())
        raise SettingsError(
            f"Settings cannot be used: {problems}. Known names: {', '.join(Settings.model_fields)}."
        ) from error


def store_settings(settings: Settings) -> None:
    """Write the settings into a new workspace, or refuse when it was made with other ones.

    A workspace holds one world: continuing it with another source, seed or start would mix two.
    """
    path = settings.home / "settings.json"
    fresh = json.loads(settings.model_dump_json(exclude={"home"}))
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        # A setting that is younger than the workspace had its default there.
        before = {**json.loads(Settings(home=settings.home).model_dump_json()), **stored}
        changed = {k: (before[k], v) for k, v in fresh.items() if k in _WORLD and before[k] != v}
        if changed:
            text = "; ".join(f"{k} was {old!r}, now {new!r}" for k, (old, new) in changed.items())
            raise SettingsError(
                f"{settings.home} was made with other settings ({text}). Choose another --out, or repeat the old ones."
            )
    write_json(path, fresh)


_WORLD = (
    "source",
    "data",
    "encoding",
    "date_order",
    "purchase_events",
    "start",
    "seed",
    "scale",
    "card_payments",
    "label_weeks",
)


def settings_from_environment() -> Settings:
    """Settings of the workspace that `MLOPS_HOME` names: how tasks and servers find their world."""
    home = os.environ.get("MLOPS_HOME")
    if not home:
        raise SettingsError("MLOPS_HOME is not set; point it at a workspace, for example the --out of `mlops replay`.")
    return build_settings(Path(home))
