"""What is released: the one file that the release controller writes and every worker follows.

Versions, index and traffic change together or not at all, because they stand in one file that is replaced whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from ingest.errors import ArtefactError
from ingest.whole_files import write_json
from training.predictions import log_of
from training.promotion import MODEL
from training.scored_payments import payment_log_of

SlotName = Literal["champion", "challenger", "previous"]
SLOTS: tuple[SlotName, ...] = ("champion", "challenger", "previous")


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something to load from the workspace's disk: what it is called, where it lies, and the hash it must have."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the challenger gets: nothing, copies of questions (shadow), or a share of the customers (canary)."""

    mode: Literal["none", "shadow", "canary"] = "none"
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version or index that was not taken into service, when (UTC), and why."""

    name: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """One generation of what is live; `follows` says whose word it is while the registry is silent."""

    generation: int
    champion: Artefact | None
    challenger: Artefact | None
    previous: Artefact | None
    index: Artefact
    traffic: Traffic = Traffic()
    follows: Literal["registry", "decision log"] = "registry"
    refusals: tuple[Refusal, ...] = ()
    fraud: Artefact | None = None
    """What scores payments, if a fraud model was ever released; the one before it is kept warm."""
    fraud_previous: Artefact | None = None

    def slot(self, name: SlotName) -> Artefact | None:
        found: Artefact | None = getattr(self, name)
        return found

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        slots = {name: Artefact(**record[name]) if record[name] else None for name in SLOTS}
        # A release that was written before there was a fraud model does not name one.
        fraud, fraud_previous = (
            Artefact(**found) if (found := record.get(name)) else None for name in ("fraud", "fraud_previous")
        )
        return cls(
            generation=record["generation"],
            **slots,
            index=Artefact(**record["index"]),
            traffic=Traffic(**record["traffic"]),
            follows=record["follows"],
            refusals=tuple(Refusal(**refusal) for refusal in record["refusals"]),
            fraud=fraud,
            fraud_previous=fraud_previous,
        )


class ServingFolder:
    """The places that controller and workers share: `serving/` of a workspace."""

    def __init__(self, home: Path) -> None:
        self.root = home / "serving"

    @property
    def release(self) -> Path:
        return self.root / "release.json"

    @property
    def canary(self) -> Path:
        """The state of the canary's tests, for a controller that starts again."""
        return self.root / "canary.json"

    @property
    def heartbeat(self) -> Path:
        """Its modification time is the controller's last sign of life."""
        return self.root / "controller.alive"

    @property
    def models(self) -> Path:
        """Copies of the recommender's versions."""
        return self.copies_of(MODEL)

    def copies_of(self, model: str) -> Path:
        """Where copies of a model's versions lie; the recommender's folder has the name it had when it was the only one."""
        return self.root / ("models" if model == MODEL else f"models-{model}")

    @property
    def predictions(self) -> Path:
        return log_of(self.root.parent)

    @property
    def payments(self) -> Path:
        return payment_log_of(self.root.parent)

    @property
    def outcomes(self) -> Path:
        """What customers did after an answer, as the shop's tracker appends it: one JSON object a line."""
        return self.root / "outcomes.jsonl"

    def read_release(self) -> Release | None:
        """The release that was written last, None before the first.

        Raises ArtefactError when it cannot be read, or holds none: it is written whole, so somebody else wrote it.
        """
        try:
            return Release.from_dict(json.loads(self.release.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtefactError(
                f"{self.release} cannot be read: {error}. Mend the disk or the folder's rights."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"{self.release} is not a release ({error!r}). Delete it: the controller writes it anew from the registry."
            ) from error

    def write_release(self, release: Release) -> None:
        write_json(self.release, release.to_dict())
