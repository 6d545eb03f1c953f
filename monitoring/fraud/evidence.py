"""All evidence about the fraud model on a day: a pure function of what had arrived by then."""

from __future__ import annotations

from monitoring.fraud.batches import batch_figures
from monitoring.fraud.drift import drift_figures
from monitoring.fraud.figures import Figures
from monitoring.fraud.label_sources import label_figures
from monitoring.fraud.ledger import Ledger
from monitoring.fraud.quality import quality_figures
from monitoring.fraud.versions import version_figures


def evidence_on(ledger: Ledger, as_of: int) -> Figures:
    """Every figure that can be had at the midnight that begins day `as_of` (counted since 1970)."""
    parts = (batch_figures, drift_figures, quality_figures, label_figures, version_figures)
    return {name: figure for part in parts for name, figure in part(ledger, as_of).items()}
