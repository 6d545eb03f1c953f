"""Let the registry's aliases follow from the recorded decisions, now or as soon as the registry can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ingest.errors import RegistryError
from ingest.whole_files import write_whole
from training.promotion import MODEL, Aliases, aliases_after
from training.vocabulary import Decision
from training.workspace import Workspace

if TYPE_CHECKING:
    from training.artefact import Kind


def carry_out(ws: Workspace) -> Mapping[str, Aliases]:
    """Move each model's aliases to where the recorded decisions put them; repairs a run that died between record and move.

    Returns the aliases by model: the recommender's, and those of every model that something was decided about.
    Raises RegistryError when the registry cannot be reached, or lacks a version; the other model's aliases have moved all the same.
    """
    moved: dict[str, Aliases] = {}
    while (live := _live(ws)) != moved:  # a rival may have recorded more meanwhile
        behind = {model: aliases for model, aliases in live.items() if aliases != moved.get(model)}
        # All of them first: what is wrong with one model's versions is no reason to keep the other's where they are.
        failed = [error for model, aliases in behind.items() if (error := _moving(ws, model, aliases))]
        if failed:
            raise failed[0]
        moved = live
    ws.unreconciled.unlink(missing_ok=True)
    return live


def _moving(ws: Workspace, model: str, aliases: Aliases) -> RegistryError | None:
    """Move one model's aliases; what went wrong, if something did."""
    from training.fraud.artefact import FRAUD
    from training.mlflow_registry import MlflowRegistry  # two seconds to import: a rollback is recorded before that
    from training.recommender.artefact import RANKER

    kinds: dict[str, Kind[Any]] = {kind.model: kind for kind in (RANKER, FRAUD)}
    try:
        MlflowRegistry(ws.settings, kinds[model]).set_aliases(aliases)
    except RegistryError as error:
        return error
    return None


def _live(ws: Workspace) -> dict[str, Aliases]:
    """Where the aliases belong: the recommender's, and those of each model of which something was live or in the shadow."""
    decisions = ws.decisions.read()
    models = {MODEL, *(decision.model for decision in decisions if decision.model_version)}
    return {model: aliases_after(decisions, model) for model in sorted(models)}


def record_and_carry_out(ws: Workspace, decision: Decision) -> Decision:
    """Record what changes what is live; the aliases follow at once, or when the registry is back."""
    _owe(ws)  # before the record, so that no kill comes between the two
    ws.decisions.record(decision)
    carry_out_or_owe(ws)
    return decision


def carry_out_or_owe(ws: Workspace) -> bool:
    """Move the aliases, or leave a mark that they have to be moved when the registry is back; says whether they were.

    For what cannot wait: a rollback. Serving goes by the decisions while the registry is silent or the mark stands.
    """
    _owe(ws)
    try:
        carry_out(ws)
    except RegistryError:
        _owe(ws)  # a rival that read the decisions before this one may have taken the mark away
        return False
    return True


def _owe(ws: Workspace) -> None:
    """Leave the mark that the aliases have to be moved."""
    write_whole(ws.unreconciled, lambda temporary: temporary.write_text("see decisions.jsonl\n"))
