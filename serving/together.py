"""Answer those together who ask while others are answered: one read, one description and one call of the model for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

#: So many at most, that the first does not wait for the last.
TOGETHER = 16
#: A batch is taken when nobody came for so many rounds of the event loop: a request takes one for its bytes, its middleware
#: and its turn, and uvloop accepts one connection a round. With none, whoever asks is answered alone.
LOOKS = 3
IDLE_S = 0.05  # without anybody to answer; handing out a full batch's answers takes half of it, on a slow machine


@dataclass(frozen=True, eq=False)
class Waiting(Generic[Question, Answer]):
    """A question, since when it waits (`time.perf_counter`), and where its answer goes."""

    question: Question
    since: float
    answer: asyncio.Future[Answer]


class Together(Generic[Question, Answer]):
    """The waiting list of one worker; `answer_some` is handed a batch, and must set the answer of each in it."""

    def __init__(self, answer_some: Callable[[Sequence[Waiting[Question, Answer]]], None]) -> None:
        self._answer_some = answer_some
        self._waiting: list[Waiting[Question, Answer]] = []
        self._in_work: list[Waiting[Question, Answer]] = []
        self._work: asyncio.Task[None] | None = None
        self._worked_at = self._busy_since = 0.0

    async def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to some questions, in their order."""
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        asking: list[Waiting[Question, Answer]] = [
            Waiting(question, now, loop.create_future()) for question in questions
        ]
        self._waiting += asking
        if self._work is None:
            self._work = loop.create_task(self._answer_all())
            self._work.add_done_callback(self._ended)
        return list(await asyncio.gather(*(waiting.answer for waiting in asking)))

    @property
    def busy_s(self) -> float:
        """For how long nothing but full batches were taken, the one in work included."""
        return time.perf_counter() - self._busy_since

    async def _answer_all(self) -> None:
        while self._waiting:
            await self._look()
            # Who has gone away, such as after BentoML's second, is shown nothing, and must not be logged as if they were.
            self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
            self._in_work, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            if self._in_work:
                if len(self._in_work) < TOGETHER:
                    self._busy_since = time.perf_counter()
                self._answer_some(self._in_work)
                self._worked_at = time.perf_counter()
        self._work = None  # not in `_ended`, which runs later: whoever asks before it does would wait for nobody

    async def _look(self) -> None:
        """Let those who are on their way come in, until nobody did for some rounds."""
        if time.perf_counter() - self._worked_at > IDLE_S:
            self._busy_since = time.perf_counter()
        seen, quiet = len(self._waiting), 0
        while quiet < LOOKS and seen < TOGETHER:
            await asyncio.sleep(0)
            seen, quiet = len(self._waiting), quiet + 1 if len(self._waiting) == seen else 0

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Nobody is left waiting, not even when the work ends with an error that nobody foresaw."""
        if self._work is work:
            self._work = None
        error = None if work.cancelled() else work.exception()
        if error is None and not work.cancelled():
            return
        left, self._waiting = [*self._in_work, *self._waiting], []
        for waiting in left:
            if error is None:
                waiting.answer.cancel()
            elif not waiting.answer.done():
                waiting.answer.set_exception(error)
