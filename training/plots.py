"""Draw the plots that are logged with a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure


def quality_plot(metrics: Mapping[str, Any]) -> Figure:
    """NDCG@10 with intervals of every model on the judged week, as bars for all and for new items."""
    names = list(metrics["models"])
    figure = Figure(figsize=(7, 0.5 * len(names) + 1.5), layout="constrained")
    for axis, scope in zip(figure.subplots(1, 2, sharey=True), ("all", "new"), strict=True):
        found = [
            metrics["models"][name][f"ndcg_at_10_{scope}"] or {"value": 0.0, "low": 0.0, "high": 0.0} for name in names
        ]
        below, above = zip(*((f["value"] - f["low"], f["high"] - f["value"]) for f in found), strict=True)
        axis.barh(names, [f["value"] for f in found], xerr=(below, above), color="#4c72b0")
        axis.set_title(f"NDCG@10, {scope} items")
        axis.invert_yaxis()
    figure.suptitle(f"Week of {metrics['week']}, {metrics['users']} customers")
    return figure
