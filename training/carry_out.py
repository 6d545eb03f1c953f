"""Let the registry's aliases follow from the recorded decisions, now or as soon as the registry can be reached."""

from __future__ import annotations

from ingest.errors import RegistryError
from ingest.whole_files import write_whole
from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision
from training.workspace import Workspace


def carry_out(ws: Workspace) -> Aliases:
    """Move the aliases to where the recorded decisions put them; repairs a run that died between record and move.

    Raises RegistryError when the registry cannot be reached.
    """
    from training.mlflow_registry import MlflowRegistry  # two seconds to import: a rollback is recorded before that
    from training.recommender.artefact import RANKER

    registry, moved = MlflowRegistry(ws.settings, RANKER), None
    while (live := aliases_after(ws.decisions.read())) != moved:  # a rival may have recorded more meanwhile
        registry.set_aliases(live)
        moved = live
    ws.unreconciled.unlink(missing_ok=True)
    return live


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
