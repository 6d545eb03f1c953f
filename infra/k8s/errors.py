"""What goes wrong with manifests on purpose; each message says what, which, and what to do."""

from __future__ import annotations

from infra.errors import InfraError


class OutputsError(InfraError):
    """Terraform's outputs do not say what the manifests need."""


class ManifestError(InfraError):
    """Manifests cannot be rendered, or are not whole."""
