"""The incidents that are rehearsed, one function each: what is harmed, what must happen, what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from ingest.errors import PlatformError
from serving.bento_server import bento_server
from serving.drills import DrillReport, Stage, Told, copied, report, stage
from serving.harm import (
    JumpingClock,
    champion_of,
    customers_who_buy,
    kill_all,
    locked,
    register_copy,
    register_upside_down,
    registry_server,
    small_disk,
    until,
)
from serving.release import ServingFolder
from serving.scrape import samples, scraped
from training.canary_decision import promote_canary
from training.carry_out import record_and_carry_out
from training.decision_log import now
from training.mlflow_registry import MlflowRegistry
from training.predictions import read_predictions
from training.promotion import MODEL, aliases_after
from training.recommender.artefact import RANKER
from training.rollback import roll_back
from training.vocabulary import Decision
from training.workspace import Workspace

SETTLE_S = 6.0
FOLLOWED_S = 2.0
ROLLED_BACK_S = 5.0
WRITTEN_S = 1.0
DAY_S = 24 * 3600


def bad_release(home: Path) -> DrillReport:
    """A version that passed the offline gates, and ranks the wrong way round: found on canary by what customers do, and taken back."""
    with copied(home) as ws:
        bad = register_upside_down(ws)
        with stage(ws) as running, customers_who_buy(ws):
            opened_s = running.elapsed_s()
            record_and_carry_out(ws, _passed_its_gates(bad.version, champion_of(ws)))
            ended = until(lambda: _ended(ws, bad.version), "the canary to end")
            found_s = running.elapsed_s()
            time.sleep(SETTLE_S)
            told = Told(
                harm_s=opened_s,
                detected_s=found_s,
                wrong=lambda body, at_s: body["model_version"] == bad.version and at_s > found_s,
                notes={"decision": ended.kind, "reason": ended.reason},
            )
            drilled = report("bad-release", running.load.stop(), told)
    return _failing(drilled, {"the bad release was not rolled back": ended.kind != "rollback"})


def manual_rollback(home: Path) -> DrillReport:
    """A person types `mlops rollback`: the previous version answers within five seconds, the command's own start included."""
    with copied(home) as ws, stage(ws) as running:
        bad = champion_of(ws)
        harm_s = running.elapsed_s()
        mlops("rollback", "--dir", str(ws.home), "--reason", "drill")
        commanded_s = running.elapsed_s()
        time.sleep(SETTLE_S)
        told = Told(
            harm_s,
            None,
            lambda body, at_s: body["model_version"] == bad and at_s > harm_s,
            {"command_s": round(commanded_s - harm_s, 2)},
        )
        return report("manual-rollback", running.load.stop(), told, limit_s=ROLLED_BACK_S)


def promotion(home: Path) -> DrillReport:
    """Another version is promoted under load: every worker takes it over at once, and nobody waits."""
    with copied(home) as ws, stage(ws) as running:
        old = champion_of(ws)
        new = register_copy(ws).version
        harm_s = running.elapsed_s()
        promote_canary(ws, now(), new, reason="drill", evidence=())
        time.sleep(SETTLE_S)
        told = Told(harm_s, None, lambda body, at_s: body["model_version"] == old and at_s > harm_s)
        return report("promotion", running.load.stop(), told, limit_s=FOLLOWED_S)


def worker_killed(home: Path) -> DrillReport:
    """One of the workers is killed: the other answers, clients ask again, a new one comes up."""
    with copied(home) as ws, stage(ws) as running:
        before = workers(running)
        harm_s = running.elapsed_s()
        psutil.Process(min(before)).kill()
        until(lambda: len(workers(running) - before) > 0, "a new worker")
        back_s = running.elapsed_s()
        time.sleep(SETTLE_S)
        told = Told(harm_s, None, _never, {"new_worker_s": round(back_s - harm_s, 2)})
        return report("worker-killed", running.load.stop(), told)


def service_killed(home: Path) -> DrillReport:
    """Everything that serves is killed and started again: the gap is measured, and what the prediction log lost."""
    with copied(home) as ws, stage(ws) as running:
        harm_s, harm_at = running.elapsed_s(), datetime.now(UTC)
        kill_all(running.server.process.pid)
        port = int(running.url.rpartition(":")[2])
        with bento_server(ws, port):
            time.sleep(SETTLE_S)
            result = running.load.stop()
        logged = set(read_predictions(ServingFolder(ws.home).predictions)["request_id"].to_pylist())
        given = [a for a in result.answers() if a.status == 200]
        unlogged = [a.intended_s - harm_s for a in given if json.loads(a.body)["request_id"] not in logged]
        told = Told(harm_s, None, _never, {"unlogged_answers": len(unlogged), "killed_at": harm_at.isoformat()})
        drilled = report("service-killed", result, told, lost_allowed=True)
    return _failing(drilled, {"more than a second of the log is lost": any(at < -1 or at > 0.5 for at in unlogged)})


def store_killed(home: Path) -> DrillReport:
    """The online store stops answering for eight seconds: remembered features, then none, then fresh ones again."""
    with copied(home) as ws, stage(ws) as running:
        time.sleep(SETTLE_S)  # some customers are remembered by then
        harm_s = running.elapsed_s()
        with locked(ws.features / "online.db"):
            time.sleep(8)
        back_s = running.elapsed_s()
        time.sleep(SETTLE_S)
        result = running.load.stop()
        by_rung = _rungs(result.answers())
        again_s = fresh_again(by_rung, back_s)
        notes = {"fresh_again_s": again_s and round(again_s - back_s, 2), **_share(by_rung)}
        told = Told(harm_s, _first(by_rung, harm_s), _never, notes)
        drilled = report("store-killed", result, told)
    return _failing(
        drilled,
        {
            "nothing was degraded: the store was not gone": drilled.degraded == 0,
            "never fresh again": again_s is None,
        },
    )


def registry_killed(home: Path) -> DrillReport:
    """The registry is killed, then a rollback is decided: it is carried out at once, and reconciled when the registry is back."""
    with copied(home) as original, registry_server(original) as (ws, server), stage(ws) as running:
        bad = champion_of(ws)
        server.kill()
        time.sleep(2)
        harm_s = running.elapsed_s()
        mlops("rollback", "--dir", str(ws.home), "--reason", "drill")
        time.sleep(SETTLE_S)
        owed = ws.unreconciled.exists()
        result = running.load.stop()
        server.start()
        began = time.monotonic()
        until(lambda: not ws.unreconciled.exists(), "the aliases to be reconciled")
        reconciled = MlflowRegistry(ws.settings, RANKER).aliases() == aliases_after(ws.decisions.read())
        told = Told(
            harm_s,
            None,
            lambda body, at_s: body["model_version"] == bad and at_s > harm_s,
            {"reconciled_s": round(time.monotonic() - began, 2)},
        )
        drilled = report("registry-killed", result, told, limit_s=ROLLED_BACK_S)
    return _failing(
        drilled,
        {
            "the registry was not gone": not owed,
            "the aliases were not reconciled": not reconciled,
        },
    )


def corrupt_artefact(home: Path) -> DrillReport:
    """A version whose files were altered is promoted: it is refused, that is recorded, and the old one goes on answering."""
    with copied(home) as ws, stage(ws) as running:
        good, broken = champion_of(ws), register_copy(ws)
        [trees] = (ws.home / "artefacts").rglob(Path(RANKER.files["pointwise"]).name)
        content = bytearray(trees.read_bytes())
        content[len(content) // 2] ^= 1
        trees.write_bytes(content)
        harm_s = running.elapsed_s()
        promote_canary(ws, now(), broken.version, reason="drill", evidence=())
        until(lambda: _refused(ws, broken.version), "the refusal")
        found_s = running.elapsed_s()
        time.sleep(SETTLE_S)
        told = Told(
            harm_s,
            found_s,
            lambda body, _: body["model_version"] != good,
            {"reason": _refused(ws, broken.version)[0].reason[:120]},
        )
        return report("corrupt-artefact", running.load.stop(), told)


def clock_jump(home: Path) -> DrillReport:
    """The machine's clock jumps a day ahead and two days back: answers, release and log do not care."""
    with copied(home) as ws, stage(ws, (clock := JumpingClock(ws.home)).environment) as running:
        bad = champion_of(ws)
        harm_s = running.elapsed_s()
        clock.jump(DAY_S)
        time.sleep(SETTLE_S)
        clock.jump(-DAY_S)
        time.sleep(SETTLE_S)
        rolled_s = running.elapsed_s()
        roll_back(ws, now(), to=None, reason="drill", actor="policy")
        time.sleep(SETTLE_S)
        result = running.load.stop()
        time.sleep(WRITTEN_S)
        unlogged, days = _unlogged(ws, result, after_s=harm_s), _days(ws)
        wrong = lambda body, at_s: body["model_version"] == bad and at_s > rolled_s + ROLLED_BACK_S  # noqa: E731
        notes = {"unlogged_answers": unlogged, "days_in_the_log": days}
        drilled = report("clock-jump", result, Told(harm_s, None, wrong, notes))
    return _failing(
        drilled,
        {
            "a rollback was not followed": drilled.wrong_version > 0,
            "answers are missing in the log": unlogged > 0,
            "the clock did not jump": days < 3,
        },
    )


def log_disk_full(home: Path) -> DrillReport:
    """The prediction log's disk is full for eight seconds: nobody waits, and all is written once there is room."""
    with (
        copied(home) as ws,
        small_disk(ServingFolder(ws.home).predictions, kilobytes=4096) as disk,
        stage(ws) as running,
    ):
        harm_s = running.elapsed_s()
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        time.sleep(8)
        figures = scraped(running.url)
        ballast.unlink()
        time.sleep(SETTLE_S)
        result = running.load.stop()
        time.sleep(WRITTEN_S)
        unlogged = _unlogged(ws, result, after_s=0)
        queued = _of_predictions(figures, "recommender_predictions_queued")
        failures = _of_predictions(figures, "recommender_prediction_write_failures_total")
        notes = {
            "queued_at_most": queued,
            "write_failures": failures,
            "unlogged_answers": unlogged,
        }
        drilled = report("log-disk-full", result, Told(harm_s, None, _never, notes))
    return _failing(
        drilled,
        {"the disk was not full": failures == 0, f"{unlogged} answers are missing in the log": unlogged > 0},
    )


def _of_predictions(figures: str, name: str) -> float:
    """The figure of the recommender's log; the log of payments has its own."""
    [found] = [sample.value for sample in samples(figures, name) if sample.labels["log"] == "predictions"]
    return found


DRILLS: dict[str, Callable[[Path], DrillReport]] = {
    "bad-release": bad_release,
    "manual-rollback": manual_rollback,
    "promotion": promotion,
    "worker-killed": worker_killed,
    "service-killed": service_killed,
    "store-killed": store_killed,
    "registry-killed": registry_killed,
    "corrupt-artefact": corrupt_artefact,
    "clock-jump": clock_jump,
    "log-disk-full": log_disk_full,
}


def workers(running: Stage) -> set[int]:
    """The processes that answer, as they say themselves."""
    told = samples(scraped(running.url), "recommender_release_generation")
    return {pid for pid in (int(sample.labels["pid"]) for sample in told) if psutil.pid_exists(pid)}


def mlops(*arguments: str) -> None:
    """Run the command as a user does. Raises PlatformError with its words when it fails."""
    command = [sys.executable, "-m", "cli", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if ran.returncode != 0:
        raise PlatformError(f"`mlops {' '.join(arguments)}` failed: {ran.stderr.strip() or ran.stdout.strip()}")


def _passed_its_gates(version: str, champion: str) -> Decision:
    return Decision(
        at=now().isoformat(),
        actor="policy",
        kind="canary",
        subject=f"{MODEL} version {version}",
        action="canary",
        reason="every gate passed",
        model_version=version,
        previous_version=champion,
    )


def _ended(ws: Workspace, version: str) -> Decision | None:
    return next(
        (
            d
            for d in reversed(ws.decisions.read(MODEL))
            if d.kind in ("promotion", "rollback") and version in (d.model_version, d.previous_version)
        ),
        None,
    )


def _days(ws: Workspace) -> int:
    """How many dates the log's answers have."""
    answered = read_predictions(ServingFolder(ws.home).predictions)["at"].to_pylist()
    return len({at.date() for at in answered})


def _refused(ws: Workspace, version: str) -> list[Decision]:
    return [d for d in ws.decisions.read() if d.kind == "refusal" and d.subject == f"{MODEL} version {version}"]


def _never(_body: dict[str, Any], _at_s: float) -> bool:
    return False


def _failing(drilled: DrillReport, failures: dict[str, bool]) -> DrillReport:
    return replace(drilled, failures=(*drilled.failures, *(text for text, failed in failures.items() if failed)))


def _rungs(answers: list[Any]) -> list[tuple[str, float]]:
    return [(json.loads(a.body)["features"], a.intended_s) for a in answers if a.status == 200]


def _first(by_rung: list[tuple[str, float]], harm_s: float) -> float | None:
    return next((at for rung, at in by_rung if rung != "fresh" and at >= harm_s), None)


def fresh_again(by_rung: list[tuple[str, float]], back_s: float) -> float | None:
    """When a second began in which nineteen of twenty answers are fresh.

    Not all: one read that meets a lock of a moment is answered for from memory at any time.
    """
    after = [(rung, at) for rung, at in by_rung if at >= back_s]
    for _, began in after:
        second = [rung == "fresh" for rung, at in after if began <= at < began + 1]
        if after[-1][1] >= began + 1 and sum(second) >= 0.95 * len(second):
            return began
    return None


def _share(by_rung: list[tuple[str, float]]) -> dict[str, int]:
    return {rung: sum(r == rung for r, _ in by_rung) for rung in ("stale_features", "no_features")}


def _unlogged(ws: Workspace, result: Any, *, after_s: float) -> int:
    logged = set(read_predictions(ServingFolder(ws.home).predictions)["request_id"].to_pylist())
    given = [json.loads(a.body)["request_id"] for a in result.answers() if a.status == 200 and a.intended_s >= after_s]
    return len([request_id for request_id in given if request_id not in logged])
