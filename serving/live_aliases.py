"""Say which versions of a model should be live: by the registry, or by the decisions while it is silent or owes them something."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal

from ingest.errors import RegistryError
from training.artefact import Kind, Model
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision
from training.workspace import Workspace

#: A registry that was silent is asked again after this long.
AGAIN_S = 5.0

log = logging.getLogger("recommender.controller")

Follows = Literal["registry", "decision log"]


@dataclass
class LiveAliases(Generic[Model]):
    """The aliases of one kind of model, whoever can say them."""

    ws: Workspace
    kind: Kind[Model]
    clock: Callable[[], float]
    _registry: MlflowRegistry[Model] | None = None
    _silent: bool = False
    _silent_until: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether the registry said nothing a moment ago, and is left alone."""
        return self.clock() < self._silent_until

    @property
    def registry(self) -> MlflowRegistry[Model]:
        """Raises RegistryError when it cannot be reached."""
        self._registry = self._registry or MlflowRegistry(self.ws.settings, self.kind)
        return self._registry

    def after(self, decisions: Sequence[Decision]) -> tuple[Aliases, Follows]:
        """What should be live after these decisions, and whose word that is."""
        decided = aliases_after(decisions, self.kind.model)
        if self.ws.unreconciled.exists() or self.silent:
            return decided, "decision log"
        try:
            live = self.registry.aliases()
        except RegistryError as error:
            self.leave_alone(error)
            return decided, "decision log"
        if decided.champion and not live.champion:
            log.error("the registry names no champion of %s; going by the decision log", self.kind.model)
            return decided, "decision log"
        if self._silent:
            log.warning("the registry answers again about %s", self.kind.model)
        self._silent = False
        return live, "registry"

    def leave_alone(self, error: RegistryError) -> None:
        """Ask no more for a while: a registry that is down may take ten seconds to say nothing."""
        if not self._silent:
            log.error("going by the decision log about %s: %s", self.kind.model, error)
        self._silent = True
        self._registry, self._silent_until = None, self.clock() + AGAIN_S
