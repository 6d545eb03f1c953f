"""Show a replay on a terminal: one row a week, or the whole in a few figures for scripts."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

_MARKS = {"promote": "[green]promoted[/green]", "refuse": "[red]refused[/red]"}


def summary(records: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """The replay in a few figures, for scripts; `peak_mb` is the most memory that this process has held."""
    kinds = [line["kind"] for line in map(json.loads, (out / "decisions.jsonl").read_text().splitlines())]
    realised = [r["realised"]["ndcg_at_10_all"]["value"] for r in records if r["realised"]]
    return {
        "weeks": len(records),
        "champion": (records[-1]["champion"] or {}).get("version"),
        "decisions": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "realised_ndcg_at_10_all": sum(realised) / len(realised) if realised else None,
        "seconds": round(sum(sum(r["seconds"].values()) for r in records), 1),
        "peak_mb": peak_mb(),
        "report": str(out / "report.html"),
    }


def peak_mb() -> int:
    """Linux keeps in ru_maxrss what the process that started this one had held, so its own peak is read from /proc."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        [peak_kb] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return round(int(peak_kb) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)  # macOS counts bytes


def week_table(records: list[dict[str, Any]]) -> Table:
    """What happened, week by week: what the watch did, what became of the candidate, and how good the lists were."""
    table = Table(
        title="What happened, week by week", caption="NDCG@10 on the week before; realised: what was really shown"
    )
    for column in ("Monday", "watch", "candidate", "verdict", "live", "NDCG cand.", "NDCG champ.", "realised", "s"):
        table.add_column(column, justify="right" if column[0] in "Nrs" else "left")
    for r in records:
        table.add_row(*_week_row(r))
    return table


def _week_row(r: dict[str, Any]) -> list[str]:
    models = (r["metrics"] or {}).get("models", {})
    action = r["action"] or {}
    what = f"{action.get('name', '').replace('_', ' ')}: {action.get('cause', '')}"
    if action.get("answer"):
        what += f" → {action['answer']['choice']}"
    verdict = _MARKS[r["verdict"]["outcome"]] if r["verdict"] else "[yellow]held[/yellow]"
    if r["verdict"] and r["verdict"]["outcome"] == "refuse":
        verdict += f" ({', '.join(g['gate'] for g in r['verdict']['gates'] if not g['passed'])})"
    return [
        r["as_of"], what, (r["candidate"] or {}).get("version", "–"), verdict, r["served"]["version"] or "–",
        _figure(models.get("candidate")), _figure(models.get("champion")), _figure(r["realised"]), f"{sum(r['seconds'].values()):.1f}",
    ]  # fmt: skip


def _figure(figures: dict[str, Any] | None) -> str:
    found = (figures or {}).get("ndcg_at_10_all")
    return f"{found['value']:.3f}" if found else "–"
