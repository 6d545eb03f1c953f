"""Say once a second what a worker holds: versions, release, ages, queue; what happens in a request is counted there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path

import psutil
from prometheus_client import Counter, Gauge
from prometheus_client.multiprocess import mark_process_dead

from serving import metrics
from serving.follower import Follower
from serving.prediction_log import PredictionLog
from serving.release import Release
from serving.slots import Slots

EVERY_S = 1.0


class WorkerMetrics:
    """Turns the state of a worker's parts into gauges, and their counts into counters."""

    def __init__(self, follower: Follower, logs: Mapping[str, PredictionLog]) -> None:
        self._follower, self._logs = follower, logs
        self._counted: dict[tuple[Counter, str], int] = {}
        self._told: dict[Gauge, set[tuple[str, str]]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        self.tell()
        while not self._over.wait(EVERY_S):
            self.tell()

    def tell(self) -> None:
        """Set every gauge to what is the case now."""
        for name, log in self._logs.items():
            metrics.QUEUED.labels(name).set(log.queued)
            self._count_up(metrics.WRITTEN, name, log.written)
            self._count_up(metrics.DROPPED, name, log.dropped + log.refused)
            self._count_up(metrics.WRITE_FAILURES, name, log.write_failures)
        metrics.CONTROLLER_AGE.set(self._follower.controller_silent_s)
        slots, release = self._follower.slots, self._follower.release
        if slots is not None and release is not None:
            self._tell_release(slots, release)
        fraud = self._follower.fraud.held if self._follower.fraud else {}
        self._tell_versions(metrics.FRAUD_VERSION, {(slot, held.version) for slot, held in fraud.items()})

    def _tell_release(self, slots: Slots, release: Release) -> None:
        metrics.GENERATION.set(slots.generation)
        metrics.SHARE.set(slots.traffic.share if slots.traffic.mode == "canary" else 0)
        metrics.REGISTRY_UP.set(release.follows == "registry")
        metrics.REFUSED_ARTEFACTS.set(len(release.refusals))
        metrics.INDEX_AGE.set(time.time() - slots.index.as_of.replace(tzinfo=UTC).timestamp())
        self._tell_versions(metrics.VERSION, {(str(slot), model.version) for slot, model in slots.models.items()})

    def _tell_versions(self, gauge: Gauge, held: set[tuple[str, str]]) -> None:
        told = self._told.setdefault(gauge, set())
        for slot, version in told - held:
            gauge.labels(slot, version).set(0)
        for slot, version in held:
            gauge.labels(slot, version).set(1)
        told |= held

    def _count_up(self, counter: Counter, name: str, total: int) -> None:
        counter.labels(name).inc(total - self._counted.get((counter, name), 0))
        self._counted[counter, name] = total


def forget_the_dead(figures: Path) -> None:
    """Take the gauges of killed workers out of the sum: what they held is held no more. Their counts stay."""
    for file in figures.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            mark_process_dead(pid, str(figures))  # type: ignore[no-untyped-call]
