"""Make up weeks as the loop records them: every outcome, and every gap that the first and the bad weeks leave.

Verdicts and actions come from the real gates and policy, so the example cannot show what the platform would not do.
"""

import math
import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from monitoring.history import trailing
from monitoring.policy import WatchPolicy, choose_action
from training.gates import GatePolicy, judge
from training.vocabulary import Decision, Evidence

Record = dict[str, Any]

STEPS = {"ingest": 2.1, "features": 9.4, "snapshot": 0.8, "fit": 21.0, "judge": 8.2, "score": 6.5, "watch": 3.9}
COLUMNS = ("quantity", "price", "basket_size", "days_since_last", "country", "item_age_weeks", "user_purchases")
META = {
    "title": "The recommender over one season",
    "subtitle": "Online Retail II, weekly",
    "data": "Online Retail II, 541,909 lines",
    "code": "8f32f42",
    "written_by": "mlops report",
}

# What happens in which week; all other weeks are usual ones. Later weeks repeat the cycle.
INCIDENTS = {3: "refused", 5: "held", 6: "restored", 8: "bad release", 9: "rolled back", 10: "quality lost"}


@dataclass
class _Platform:
    """What carries over from one week to the next."""

    live: list[str]
    trained: int = 0
    history: tuple[float, ...] = ()


def example_weeks(
    count: int = 12, *, seed: int = 7
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """Weeks, decisions and meta, as `write_report` takes them."""
    chance, platform = random.Random(seed), _Platform(live=[])
    weeks: list[dict[str, Any]] = []
    decisions: list[dict[str, Any]] = []
    for n in range(count):
        week, made = _week(n, platform, chance)
        weeks.append(week)
        decisions += [decision.to_dict() for decision in made]
    return weeks, decisions, META


def _week(n: int, platform: _Platform, chance: random.Random) -> tuple[dict[str, Any], list[Decision]]:
    monday = date(2010, 11, 1) + timedelta(weeks=n)
    incident = INCIDENTS.get(n % 12)
    season = 0.33 + 0.02 * math.sin(n / 3) + chance.gauss(0, 0.006)
    users = chance.randint(270, 360)
    models = _models(n, platform, season, incident, chance)
    realised = (
        _realised(monday, n, users, models, platform.live[-1], lost=incident == "quality lost")
        if platform.live
        else None
    )
    drift = _drift(monday, n, chance) if n else None
    watch = _watch_evidence(platform, realised, drift, incident, users)
    action = choose_action(watch, WatchPolicy())
    decisions = [_decision(monday, platform, kind=_KINDS[action.name], action=action.name, reason=action.reason)]
    answer = None
    if action.name == "ask_a_person":
        answer = {"choice": "leave it to the gates", "by": "person:mara"}
        decisions.append(
            replace(decisions[0], kind="human_approval", actor="person:mara", action="hold", reason="Christmas is over")
        )
    if action.name == "roll_back":
        bad = platform.live.pop()
        decisions[0] = replace(decisions[0], model_version=platform.live[-1], previous_version=bad)
    if realised:
        platform.history += (realised["ndcg_at_10_all"]["value"],)
    held = incident == "held"
    candidate = verdict = None
    if not held:
        platform.trained += 1
        candidate = {"version": str(platform.trained), "run_id": f"{chance.getrandbits(128):032x}"}
        judged = judge(_gate_evidence(models, users, chance), GatePolicy(), first_model=not platform.live)
        verdict = judged.to_dict()
        kind = "promotion" if judged.outcome == "promote" else "refusal"
        why = "; ".join(gate.reason for gate in judged.refusals) or "all gates passed"
        if judged.outcome == "promote":
            platform.live.append(candidate["version"])
        decisions.append(_decision(monday, platform, kind=kind, action=judged.outcome, reason=why, candidate=candidate))
    week = {
        "as_of": monday.isoformat(),
        "snapshot": {"id": f"{chance.getrandbits(64):016x}", "files": 40 + n, "rows": 380_000 + 9_300 * n},
        "contract": {
            "state": "held" if held else "accepted",
            "reason": "week 2010-11-29: 96 % of rows have no customer, 40 % allowed" if held else None,
            "deliveries": _deliveries(monday, held, chance),
        },
        "trigger": "none" if held else "request" if incident == "restored" else "clock",
        "candidate": candidate,
        "champion": {"version": platform.live[-1]} if platform.live else None,
        "previous": {"version": platform.live[-2]} if len(platform.live) > 1 else None,
        "verdict": verdict,
        "metrics": None
        if held
        else {"week": (monday - timedelta(weeks=1)).isoformat(), "users": users, "models": models},
        "realised": realised,
        "drift": drift,
        "action": {**action.to_dict(), "answer": answer},
        "decisions": [decision.decision_id for decision in decisions],
        "seconds": {
            step: round(seconds * chance.uniform(0.85, 1.2), 2)
            for step, seconds in STEPS.items()
            if not (held and step in ("fit", "judge"))
        },
    }
    return week, decisions


_KINDS: dict[str, Any] = {
    "hold": "watch",
    "retrain": "retrain_request",
    "roll_back": "rollback",
    "ask_a_person": "watch",
}


def _models(n: int, platform: _Platform, season: float, incident: str | None, chance: random.Random) -> dict[str, Any]:
    change = -0.021 if incident == "refused" else -0.036 if incident == "rolled back" else chance.uniform(-0.001, 0.006)
    levels = {
        "candidate": season + change,
        "champion": season - (0.03 if incident == "rolled back" else 0.0),
        "previous": season - 0.004,
        "first": season - 0.012 * (1 - math.exp(-n / 6)) - (0.079 if incident == "quality lost" else 0.0),
        "popularity_4w": season - 0.2,
        "repeat_x_popularity": season - 0.021 + chance.gauss(0, 0.003),
    }
    live = min(len(platform.live), 2)
    absent = {"champion", "previous", "first"} if not live else {"previous"} if live == 1 else set()
    return {
        name: {
            "ndcg_at_10_all": _around(level, 0.016),
            "ndcg_at_10_new": round(level * (0.26 if "p" in name and "_" in name else 0.41), 4),
            "recall_at_20_all": round(level * 0.85, 4),
            "hit_rate_at_10_all": round(0.35 + level * 1.4, 4),
        }
        for name, level in levels.items()
        if name not in absent
    }


def _realised(monday: date, n: int, users: int, models: dict[str, Any], version: str, *, lost: bool) -> dict[str, Any]:
    level = models["champion"]["ndcg_at_10_all"]["value"] - (0.075 if lost else 0.002)
    frozen = level - 0.09 * (1 - math.exp(-n / 7))
    return {
        "week": (monday - timedelta(weeks=1)).isoformat(),
        "users": users,
        "version": version,
        "ndcg_at_10_all": _around(level, 0.016),
        "ndcg_at_10_new": round(level * 0.4, 4),
        "hit_rate_at_10_all": round(0.35 + level * 1.4, 4),
        "frozen_lists": {"ndcg_at_10_all": round(frozen, 4), "ndcg_at_10_new": round(frozen * 0.3, 4)},
    }


def _drift(monday: date, n: int, chance: random.Random) -> dict[str, Any]:
    season = 0.12 * max(0.0, math.sin(n / 2.4))
    scores = {column: abs(chance.gauss(0.05, 0.03)) + (season if k < 3 else 0) for k, column in enumerate(COLUMNS)}
    return {
        "report": f"drift/{monday.isoformat()}.html",
        "columns": [
            {"column": column, "score": round(score, 4), "threshold": 0.1, "drifted": score > 0.1}
            for column, score in scores.items()
        ],
        "prediction": {"score": round(season / 2, 4), "threshold": 0.1, "drifted": season > 0.2},
    }


def _watch_evidence(
    platform: _Platform, realised: Record | None, drift: Record | None, incident: str | None, users: int
) -> dict[str, Evidence]:
    known = {
        "online_filled": True,
        "feature_mismatch": 0.0,
        "feature_age_days": 7.0,
        "feature_due_days": 7.0,
        "contract_state": "held" if incident == "held" else "accepted",
        "feed_restored": incident == "restored",
        "data_verified": incident != "held",
        "has_previous": len(platform.live) > 1,
        "realised_ndcg": realised["ndcg_at_10_all"]["value"] if realised else None,
        "drifted_share": sum(c["drifted"] for c in drift["columns"]) / len(drift["columns"]) if drift else None,
        "prediction_drifted": drift["prediction"]["drifted"] if drift else None,
        "weeks_since_promotion": 1,
    }
    mean = -0.026 if incident == "rolled back" else 0.004
    found = [Evidence(name, value, "weeks.json", n=users) for name, value in known.items()]
    found.append(Evidence("ndcg_diff_vs_previous", mean, "same fresh week", n=users, low=mean - 0.01, high=mean + 0.01))
    return {item.name: item for item in found} | trailing(platform.history, weeks=8, source="weeks.json")


def _gate_evidence(models: dict[str, Any], users: int, chance: random.Random) -> dict[str, Evidence]:
    def ndcg(name: str) -> float:
        return models[name]["ndcg_at_10_all"]["value"]

    def difference(name: str, rival: str, half: float, n: int) -> Evidence:
        mean = round(ndcg("candidate") - ndcg(rival), 4)
        return Evidence(name, mean, f"candidate minus {rival}", n=n, low=mean - half, high=mean + half)

    rival = "champion" if "champion" in models else "repeat_x_popularity"
    found = [
        Evidence("contract_state", "accepted", "snapshot"),
        Evidence("snapshot_age_days", 0, "snapshot"),
        Evidence("users_judged", users, "fresh week", n=users),
        *(difference(f"recall_diff_vs_baseline:{b}", b, 0.01, users) for b in ("popularity_4w", "repeat_x_popularity")),
        Evidence("catalogue_coverage", round(chance.uniform(0.3, 0.36), 4), "fresh week", n=users),
        Evidence("train_serve_max_abs_diff", 2.1e-8, "offline against online features", n=50),
        Evidence("scoring_ms_per_user", round(chance.uniform(2.6, 3.4), 3), "one customer at a time", n=20),
        Evidence("artefact_size_mb", 12.4, "ranker and index as stored"),
    ]
    if rival == "champion":
        found.append(difference("ndcg_diff_vs_champion", rival, 0.007, users))
    for baseline in ("popularity_4w", "repeat_x_popularity"):
        found.append(difference(f"ndcg_diff_vs_baseline:{baseline}", baseline, 0.011, users))
        new = models["candidate"]["ndcg_at_10_new"] - models[baseline]["ndcg_at_10_new"]
        found.append(
            Evidence(
                f"ndcg_new_diff_vs_baseline:{baseline}",
                round(new, 4),
                "new items",
                n=users,
                low=new - 0.02,
                high=new + 0.02,
            )
        )
    sizes = {
        "new_customers": 21,
        "home_country": users - 34,
        "other_countries": 34,
        "heavy_buyers": 150,
        "light_buyers": 150,
    }
    found += [difference(f"slice_ndcg_diff:{name}", rival, 0.3 / n**0.5, n) for name, n in sizes.items()]
    return {item.name: item for item in found}


def _deliveries(monday: date, held: bool, chance: random.Random) -> list[dict[str, Any]]:
    rows = chance.randint(9_000, 14_000)
    rules = {"customer_known": rows - 400} if held else {
        "customer_known": chance.randint(1_900, 2_900),
        "price_positive": chance.randint(2, 60),
        "item_is_a_product": chance.randint(20, 90),
        **({"duplicate_line": chance.randint(5, 300)} if chance.random() < 0.4 else {}),
    }  # fmt: skip
    bad = rows if held else sum(rules.values())
    return [
        {
            "batch_id": f"orders-{monday.isoformat()}-1",
            "source": "orders",
            "week": (monday - timedelta(weeks=1)).isoformat(),
            "arrived": monday.isoformat(),
            "status": "quarantined" if held else "accepted",
            "rows_in": rows,
            "rows_accepted": rows - bad,
            "rows_quarantined": bad,
            "rules": rules,
            "notes": ["quarantined whole: customer_known above 40 %"] if held else [],
            "files": [],
        }
    ]


def _decision(
    monday: date, platform: _Platform, *, kind: Any, action: str, reason: str, candidate: Record | None = None
) -> Decision:
    return Decision(
        at=monday.isoformat(),
        actor="policy",
        kind=kind,
        subject="recommender",
        action=action,
        reason=reason,
        model_version=candidate["version"] if candidate else (platform.live[-1] if platform.live else None),
        previous_version=platform.live[-2] if len(platform.live) > 1 else None,
        run_id=candidate["run_id"] if candidate else None,
    )


def _around(level: float, half: float) -> dict[str, float]:
    return {"value": round(level, 4), "low": round(level - half, 4), "high": round(level + half, 4)}
