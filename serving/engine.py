"""What answers in a worker: the released models, the feature stores, the logs and the metrics, put together.

Apart from `serving.bento_service`, because BentoML imports that in a process which only watches the workers, and all of this,
Feast and XGBoost among it, takes 250 MB there and seconds of each start.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound, ServiceUnavailable
from pydantic.warnings import PydanticDeprecationWarning

from feature_repo.definitions import CARDS
from feature_repo.feast_store import FeastStore
from ingest.errors import FeatureError
from serving.explain import explanation
from serving.feature_reader import PATIENCE_S, FeatureReader, UserFeatures
from serving.follower import Follower
from serving.guard import NO_MODEL_SCORES
from serving.payment_scorer import PaymentScorer, Unscored, judge
from serving.prediction_log import PredictionLog
from serving.questions import Payment, Question
from serving.read_payment import ReadPayment
from serving.recommender import Asked, Recommender, decide
from serving.release import ServingFolder
from serving.routing import REST
from serving.slots import Slots
from serving.worker_metrics import WorkerMetrics
from training.fraud.card_days import CardDays
from training.fraud.operation import OPERATION
from training.scored_payments import SCHEMA as PAYMENT_SCHEMA
from training.settings import settings_from_environment
from training.workspace import Workspace

# BentoML's code, not ours: warned of at each start, with the paths of this machine. Here, because what is imported above undoes
# every filter that there was.
warnings.filterwarnings("ignore", category=PydanticDeprecationWarning, module="_bentoml")


class Engine:
    """One worker's part of the service, for the workspace that `MLOPS_HOME` names."""

    def __init__(self) -> None:
        ws = Workspace(settings_from_environment())
        folder = ServingFolder(ws.home)
        self._follower = Follower(folder)
        self._follower.start()
        self._log = PredictionLog(folder.predictions).__enter__()
        self._store = FeastStore(ws.features, ws.settings.feast_online, patience_s=PATIENCE_S)
        self._recommender = Recommender(self._slots, FeatureReader(self._store).read, self._log)
        self._payment_log = PredictionLog(folder.payments, schema=PAYMENT_SCHEMA).__enter__()
        self._cards = FeastStore(CardDays(ws).features, ws.settings.feast_online, CARDS, patience_s=PATIENCE_S)
        self._scorer = PaymentScorer(
            lambda: self._follower.fraud,
            FeatureReader(self._cards, key="customer_id").read,
            FeatureReader(self._cards, key="terminal_id").read,
            self._payment_log,
        )
        self._metrics = WorkerMetrics(self._follower, {"predictions": self._log, "payments": self._payment_log})
        self._metrics.start()
        self._warm()

    def _warm(self) -> None:
        """Answer somebody before anybody asks: the first read opens the store, and takes longer than a customer may wait."""
        if (slots := self._follower.slots) is not None:
            with suppress(FeatureError):  # then the rungs below are what there is to begin with
                self._store.online_rows("user_id", ["nobody"])
            for scope in ("all", "new"):
                decide(slots, [Asked(Question(None, 10, scope), UserFeatures(None, "no_features"), REST)])
        with suppress(FeatureError):
            for key in ("customer_id", "terminal_id"):
                self._cards.online_rows(key, [0])
        if (fraud := self._follower.fraud) is not None:
            nothing_known = UserFeatures(None, "no_features")
            payment = Payment(0, datetime(2025, 1, 6), 0, 0, 0.0, "fuel", "chip", 0.0)
            judge([ReadPayment(payment, nothing_known, nothing_known)], fraud, OPERATION)
        # What was loaded lives as long as the process: collections need not look at it ever again.
        gc.collect()
        gc.freeze()

    @property
    def ready(self) -> bool:
        """Whether there is something to answer with."""
        return self._follower.slots is not None

    async def recommend(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """The best items for each of some customers, in their order."""
        return await self._recommender.answer(questions)

    def explain(self, question: Question, item_id: str | None) -> dict[str, Any]:
        """One question step by step, and an item besides those on its list. Raises NotFound for an item that is not sold."""
        slots = self._slots()
        if item_id is not None and item_id not in slots.index.number_of:
            raise NotFound(
                f"Item {item_id!r} is not in the catalogue of {slots.index.as_of:%Y-%m-%d}: unknown, or not sold for too long. "
                "Leave item_id out, or name an item that is sold."
            )
        answer, features_s = self._recommender.explain(question)
        return explanation(answer, slots.index, item_id=item_id, features_s=features_s)

    async def score(self, payment: Payment) -> dict[str, Any]:
        """How likely a payment is fraud and what becomes of it. Raises InvalidArgument or ServiceUnavailable where nobody can say."""
        answer = await self._scorer.score(payment)
        if isinstance(answer, Unscored):
            raise _unscored(answer)
        return answer

    def close(self) -> None:
        """Write what is not written yet."""
        self._metrics.stop()
        self._follower.stop()
        self._log.close()
        self._payment_log.close()

    def _slots(self) -> Slots:
        slots = self._follower.slots
        if slots is None:
            raise ServiceUnavailable("Nothing is released yet; ask again when /readyz says so.")
        return slots


def _unscored(answer: Unscored) -> BentoMLException:
    if answer.why == "too_old":
        return InvalidArgument(answer.said)
    return ServiceUnavailable(NO_MODEL_SCORES if answer.why == "failed" else "No fraud model is released.")
