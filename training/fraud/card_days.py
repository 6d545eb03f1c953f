"""Name every place of the fraud model in a workspace: its tables, a file a day, and the parts that each day's steps leave."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from training.parts import Parts
from training.workspace import Workspace


class CardDays:
    """`cards/` of a workspace. Its tables are those of docs/fraud.md, so that `mlops diagnose` reads the folder as well."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.home = ws.home / "cards"
        self.tables = self.home / "tables"
        self.parts = Parts(self.home / "days")

    @property
    def features(self) -> Path:
        """The feature store of customers and terminals: a folder of its own, for a store's definitions are of one catalogue."""
        return self.home / "features"

    def path(self, table: str, day: date) -> Path:
        """The rows of a table that belong to a day: payments with what was said of them, audits by the day they were drawn."""
        return self.tables / table / f"{day}.parquet"

    def learned_path(self, version: str) -> Path:
        """What a version learned from: its rows of the table `training_labels`."""
        return self.tables / "training_labels" / f"{version}.parquet"
