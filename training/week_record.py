"""Assemble the record of a week from the parts that its steps left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ingest.whole_files import write_json
from training.workspace import Workspace

STEPS = (
    "ingest",
    "watch",
    "settle",
    "rollback",
    "snapshot",
    "features",
    "fit",
    "evaluate",
    "judge",
    "promote",
    "score",
)


def week_record(ws: Workspace, as_of: datetime) -> dict[str, Any]:
    """What happened on a Monday, in one record: the shape of an entry of `weeks.json`."""
    parts = {step: ws.read_part(as_of, step) or {} for step in STEPS}
    watch, promote = parts["watch"], parts["promote"]
    candidate = parts["fit"].get("candidate")
    return {
        "as_of": f"{as_of:%Y-%m-%d}",
        "snapshot": parts["snapshot"].get("snapshot"),
        "contract": {**parts["snapshot"].get("contract", {}), "deliveries": parts["ingest"].get("deliveries", [])},
        "trigger": parts["snapshot"].get("trigger", "none"),
        "candidate": {"version": candidate["version"], "run_id": candidate["run_id"]} if candidate else None,
        "champion": _version(promote.get("champion")),
        "previous": _version(promote.get("previous")),
        "served": {"version": parts["score"].get("version"), "users": parts["score"].get("users")},
        "verdict": parts["judge"].get("verdict"),
        "metrics": parts["evaluate"].get("metrics"),
        "realised": watch.get("realised"),
        "drift": watch.get("drift"),
        "action": {
            **watch["action"],
            "outcome": parts["settle"].get("outcome"),
            "answer": parts["settle"].get("answer"),
        }
        if watch
        else None,
        "decisions": [d for step in ("settle", "rollback", "promote") for d in parts[step].get("decisions", [])],
        "seconds": {step: part["seconds"] for step, part in parts.items() if "seconds" in part},
    }


def write_records(ws: Workspace) -> list[dict[str, Any]]:
    """Write `weeks.json` anew from all weeks that ran to their end, however they were started; returns its records."""
    records = [week_record(ws, as_of) for as_of in ws.weeks_done("score")]
    write_json(ws.home / "weeks.json", records)
    return records


def _version(version: str | None) -> dict[str, str] | None:
    return {"version": version} if version else None
