"""Versions and an index on a disk, as the release controller leaves them for the workers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from serving.release import Artefact, Release, Traffic
from serving.slots import file_sha256
from tests.serving.small_shop import ALL_TO_CHAMPION, shop
from tests.training.versions import fitted
from training.recommender.artefact import RANKER, TREES
from training.recommender.index import ABSENT, FloatArray, save_index
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import OWN_ORDERS, Ranker

#: Fitted once: a third of a second.
ranker = cache(fitted)


def pairs(count: int = 3) -> FloatArray:
    """Every other one of an item that the customer bought before."""
    made = np.random.default_rng(7).random((count, len(FEATURES)), dtype=np.float32)
    made[::2, OWN_ORDERS] = ABSENT
    return made


def contents(of: Ranker | None = None) -> dict[str, bytes]:
    """The bytes of a version's files."""
    trees = of or ranker()
    golden = RANKER.golden(trees, pairs()).to_json().encode()
    return {**{name: bytes(getattr(trees, name).save_raw("ubj")) for name in TREES}, "golden": golden}


def version_in(folder: Path, name: str = "1", **changed: bytes) -> Artefact:
    """Write a version whose record is right about its files, whatever is in them."""
    written = contents() | changed
    for file in RANKER.files:
        (folder / RANKER.files[file]).parent.mkdir(parents=True, exist_ok=True)
        (folder / RANKER.files[file]).write_bytes(written[file])
    return Artefact(name, str(folder), RANKER.sha256_of(written))


def index_in(path: Path) -> Artefact:
    index = shop()[1]
    save_index(index, path)
    return Artefact(f"{index.as_of:%Y-%m-%d}", str(path), file_sha256(path))


class Disk:
    """Where versions 1 to 3 and an index lie, and the releases that are made of them."""

    def __init__(self, root: Path) -> None:
        self.versions = {name: version_in(root / name, name) for name in ("1", "2", "3")}
        self.index = index_in(root / "index.npz")

    def release(self, generation: int = 1, traffic: Traffic = ALL_TO_CHAMPION, **given: Any) -> Release:
        """Slots are given by their version's number."""
        slots = {slot: self.versions.get(given.get(slot, "")) for slot in ("champion", "challenger", "previous")}
        return Release(generation=generation, **slots, index=self.index, traffic=traffic)
