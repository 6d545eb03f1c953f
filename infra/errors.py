"""What goes wrong with infrastructure on purpose; each message says what, which, and what to do."""

from __future__ import annotations

from ingest.errors import PlatformError


class InfraError(PlatformError):
    """Root of what the infrastructure's commands raise."""


class PlanError(InfraError):
    """A plan cannot be read."""


class ToolError(InfraError):
    """Terraform, its provider or the emulator is missing, or ended in an error."""
