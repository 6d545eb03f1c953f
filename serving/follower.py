"""Follow the release file from inside a worker: load aside, swap at once, never let go of what answers.

The recommender's part and the fraud model's are taken over each by itself: what is wrong with one holds nothing up for the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ingest.errors import PlatformError
from serving.fraud_slots import FraudSlots, take_over_fraud
from serving.release import Release, ServingFolder, Traffic
from serving.slots import Slots, take_over

LOOK_EVERY_S = 0.1
#: A release that was refused is looked at again after this long: a busy machine, or somebody who mends it, may change that.
AGAIN_S = 5.0
#: What a release that nobody foresaw may raise: it is refused like any other, and holds the other model's part up as little.
UNUSABLE = (PlatformError, OSError, ValueError, LookupError, TypeError)
#: A canary that nobody watches is no canary: when the controller is silent for so long, the champion answers everybody.
SILENT_S = 15.0

log = logging.getLogger("recommender")


class Follower:
    """Holds the slots that answer, and a thread that keeps them up with the release file."""

    def __init__(self, folder: ServingFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._file_seen: tuple[int, int] | None = None
        self._again_at = float("inf")
        self._beat_seen, self._beat_at = 0, clock()
        self._release: Release | None = None
        self._slots: Slots | None = None
        self._fraud: FraudSlots | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def slots(self) -> Slots | None:
        """What answers now; None before the first release. Read it once a request: it may be another one the next time."""
        return self._slots

    @property
    def fraud(self) -> FraudSlots | None:
        """What scores payments now; None while no fraud model is released. Read it once a request, too."""
        return self._fraud

    @property
    def release(self) -> Release | None:
        """The release that `slots` was made from."""
        return self._release

    @property
    def controller_silent_s(self) -> float:
        """How long the controller has given no sign of life, by this process's own clock."""
        return self._clock() - self._beat_at

    def start(self) -> None:
        """Take over what is released and go on following it."""
        self._look_safely()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._look_safely()

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - nobody starts this thread again: without it no rollback arrives
            self._refuse(error)

    def look(self) -> None:
        """Take over a release that was written since; one that cannot be taken over leaves everything as it is.

        One whose versions before cannot be loaded is taken over without, and looked at again as if it had been refused.
        """
        self._listen()
        file = _identity(self._folder)
        if file is not None and (file != self._file_seen or self._clock() >= self._again_at):
            self._file_seen, self._again_at = file, float("inf")
            self._take_over()
        self._mind_the_canary()

    def _take_over(self) -> None:
        try:
            release = self._folder.read_release()
        except PlatformError as error:
            self._refuse(error)
            return
        if release is None:
            return
        try:
            self._slots, self._release = take_over(release, self._slots), release
            if release.previous is not None and "previous" not in self._slots.models:
                self._look_again()
        except UNUSABLE as error:
            self._refuse(error)
        try:
            self._fraud = take_over_fraud(release, self._fraud)
            if release.fraud_previous is not None and self._fraud is not None and self._fraud.previous is None:
                self._look_again()
        except UNUSABLE as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        log.error("release refused: %s", error if isinstance(error, PlatformError) else repr(error))
        self._look_again()

    def _look_again(self) -> None:
        self._again_at = self._clock() + AGAIN_S

    def _listen(self) -> None:
        try:
            beat = self._folder.heartbeat.stat().st_mtime_ns
        except OSError:
            return
        if beat != self._beat_seen:
            self._beat_seen, self._beat_at = beat, self._clock()

    def _mind_the_canary(self) -> None:
        """Hold back the traffic of a release while nobody watches it, and give it again when somebody does."""
        if self._release is None or self._slots is None:
            return
        wanted = self._release.traffic if self.controller_silent_s < SILENT_S else Traffic()
        if wanted != self._slots.traffic:
            held = self._slots
            self._slots = Slots(held.generation, held.index, held.models, wanted)


def _identity(folder: ServingFolder) -> tuple[int, int] | None:
    """What changes whenever the file is replaced, whatever the clock says."""
    try:
        found = folder.release.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
