"""Let the registry's aliases follow from the recorded decisions."""

from __future__ import annotations

from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases, aliases_after
from training.workspace import Workspace


def carry_out(ws: Workspace) -> Aliases:
    """Move the aliases to where the recorded decisions put them; repairs a run that died between record and move."""
    live = aliases_after(ws.decisions.read())
    MlflowRegistry(ws.settings).set_aliases(live)
    return live
