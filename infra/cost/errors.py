"""What goes wrong with a price or a bill on purpose."""

from __future__ import annotations

from infra.errors import InfraError


class CostError(InfraError):
    """Something has no price, an assumption is missing, or a number cannot be."""
