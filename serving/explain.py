"""Tell how a list came about: what was known, which source proposed each item, what the model made of it, what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.recommender import Answer
from training.recommender.candidates import PAIR_SOURCES, UNRANKED, Candidates
from training.recommender.index import ABSENT, ItemIndex
from training.recommender.pair_features import FEATURES
from training.recommender.states import USER_FEATURES


def explanation(answer: Answer, index: ItemIndex, *, item_id: str | None, features_s: float) -> dict[str, Any]:
    """One answer step by step; `item_id` adds an item that is not on the list, with the reason why it is not."""
    row, prepared = answer.asked.features.row, answer.prepared
    ranked = {"candidates": prepared.seconds, "score": answer.ranked.seconds} if prepared else {}
    seconds = {"features": features_s} | ranked
    return {
        "answer": answer.to_dict(request_id="not logged"),
        "features": {
            "rung": answer.rung,
            "known": row is not None,
            "as_of": f"{row.available_at:%Y-%m-%d}" if row else None,
            "days_older_than_index": (answer.index_as_of - row.available_at).days if row else None,
            "values": {name: row.values.get(name) for name in USER_FEATURES} if row else {},
            "items_in_history": len(row.values.get("history_item_ids", ())) if row else 0,
        },
        "candidates": _by_source(prepared.candidates, index) if prepared else {},
        "items": [_item(answer, index, listed) for listed in answer.ranked.item_ids],
        "asked_about": _asked_about(answer, index, item_id) if item_id is not None else None,
        "steps_ms": {step: round(taken_s * 1000, 3) for step, taken_s in seconds.items()},
    }


def _by_source(candidates: Candidates, index: ItemIndex) -> dict[str, int]:
    """How many candidates each source speaks for; an item may have several."""
    said = {source: int((candidates.scores[:, n] > 0).sum()) for n, source in enumerate(PAIR_SOURCES)}
    shared = {name: len(items) for name, items in index.shared_candidates.items()}
    return {**said, **shared, "together": len(candidates.items)}


def _item(answer: Answer, index: ItemIndex, item_id: str) -> dict[str, Any]:
    number, prepared = index.number_of[item_id], answer.prepared
    if prepared is None:
        return {
            "item_id": item_id,
            "score": None,
            "sources": [],
            "why": "nothing was ranked: these are the popular items",
        }
    [places] = np.nonzero(prepared.candidates.items == number)
    if not len(places):
        return {"item_id": item_id, "score": None, "sources": [], "why": "no candidate: popular items fill up the list"}
    place = places[0]
    ranks = dict(zip(PAIR_SOURCES, prepared.candidates.ranks[place], strict=True))
    sources = [{"source": s, "place": int(rank) + 1} for s, rank in ranks.items() if rank != UNRANKED]
    shared = [{"source": s, "place": None} for s, items in index.shared_candidates.items() if number in items]
    said = zip(FEATURES, prepared.features[place].tolist(), strict=True)
    return {
        "item_id": item_id,
        "score": float(answer.ranked.candidate_scores[place]),
        "sources": sources + shared,
        "features": {name: round(value, 5) for name, value in said if value not in (ABSENT, UNRANKED)},
    }


def _asked_about(answer: Answer, index: ItemIndex, item_id: str) -> dict[str, Any]:
    found, question = _item(answer, index, item_id), answer.asked.question
    if item_id in answer.ranked.item_ids:
        return {**found, "why": f"on the list, at rank {answer.ranked.item_ids.index(item_id) + 1}"}
    if found["score"] is None:
        return {**found, "why": "no source proposed it to this customer"} if answer.prepared else found
    if question.scope == "new" and found["features"].get("own_orders"):
        return {**found, "why": "filtered out: the customer bought it before, and the list is of new items"}
    above = int((answer.ranked.candidate_scores > found["score"]).sum())
    return {**found, "why": f"{above} candidates score higher, and {question.k} were asked for"}
