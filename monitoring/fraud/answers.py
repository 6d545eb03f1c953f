"""What a person may answer when the watch of the fraud model asks, and what is then done; light, for the scheduler reads it."""

from __future__ import annotations

from collections.abc import Mapping

from training.vocabulary import ActionName

ANSWERS: Mapping[str, ActionName] = {
    "change nothing, and keep training frozen": "freeze_retraining",
    "go back to the previous version": "roll_back",
    "quarantine the batch": "quarantine_batch",
    "quarantine the labels in doubt": "quarantine_labels",
    "retrain in the shadow": "retrain_in_shadow",
    "all is well": "hold",
}
#: Nobody answered in time: the answer that changes nothing.
DEFAULT_ANSWER = "change nothing, and keep training frozen"
