"""The fraud models in memory: the one that scores payments, and the one before it, kept warm for a rollback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ingest.errors import ArtefactError
from serving.release import Artefact, Release
from serving.served_kind import SERVED_FRAUD
from training.fraud.model import FraudModel

log = logging.getLogger("recommender")


@dataclass(frozen=True, eq=False)
class FraudVersion:
    """A version in memory."""

    version: str
    model: FraudModel


@dataclass(frozen=True, eq=False)
class FraudSlots:
    """Nothing in it changes: a new release is a new object, and a payment is scored by the one it has read."""

    champion: FraudVersion
    previous: FraudVersion | None = None

    @property
    def held(self) -> dict[str, FraudVersion]:
        """The versions by slot."""
        slots = {"champion": self.champion, "previous": self.previous}
        return {slot: version for slot, version in slots.items() if version is not None}


def load_fraud(artefact: Artefact) -> FraudVersion:
    """Load a version from disk, ready to score. Raises ArtefactError as `ServedKind.load` does."""
    return FraudVersion(artefact.name, SERVED_FRAUD.load(artefact))


def take_over_fraud(release: Release, held: FraudSlots | None) -> FraudSlots | None:
    """The fraud models of a release, None where it has none; what `held` has in memory already is not loaded again.

    Raises ArtefactError when the champion cannot be loaded. Without the one before it payments are scored all the same: that
    one is logged and left out.
    """
    if release.fraud is None:
        return None
    known = {version.version: version for version in held.held.values()} if held else {}
    champion = known.get(release.fraud.name) or load_fraud(release.fraud)
    return FraudSlots(champion, _previous(release.fraud_previous, known))


def _previous(artefact: Artefact | None, known: Mapping[str, FraudVersion]) -> FraudVersion | None:
    if artefact is None:
        return None
    try:
        return known.get(artefact.name) or load_fraud(artefact)
    except ArtefactError as error:
        log.error("without the fraud model before: %s", error)
        return None
