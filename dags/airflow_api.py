"""A small client of Airflow's REST API, for what the platform does in its user's place."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ingest.errors import PlatformError

#: Where Airflow's simple auth manager leaves the password that it made up for each user.
PASSWORDS = Path("airflow") / "simple_auth_manager_passwords.json.generated"

ANSWER_TIMEOUT_S = 30
#: Its SQLite file may be locked for as long as `in_process.PATIENCE_WITH_WRITERS_S`; then it answers 500, and nothing has happened.
ATTEMPTS = 6


class AirflowApi:
    """The API of the Airflow at `address`; logs in as the first user of its password file.

    Raises PlatformError when there is no such file, or Airflow refuses or does not answer.
    """

    def __init__(self, address: str, passwords: Path) -> None:
        self._address, self._headers = address.rstrip("/"), {"Content-Type": "application/json"}
        try:
            [(user, password), *_] = json.loads(passwords.read_text(encoding="utf-8")).items()
        except (OSError, ValueError, AttributeError) as error:
            raise PlatformError(
                f"{passwords} holds no login for Airflow: {error}. Has its API server been started?"
            ) from error
        login = self._ask("/auth/token", "POST", {"username": user, "password": password})
        self.token: str = login["access_token"]
        self._headers["Authorization"] = f"Bearer {self.token}"

    def get(self, path: str) -> Any:
        """What is at `path`, below /api/v2. Raises PlatformError with Airflow's own words when it refuses."""
        return self._ask(f"/api/v2{path}", "GET")

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change what is at `path`, below /api/v2. Raises PlatformError with Airflow's own words when it refuses."""
        return self._ask(f"/api/v2{path}", "PATCH", body)

    def trigger(self, dag_id: str, conf: Mapping[str, str]) -> str:
        """Start a run of a DAG now; returns its id."""
        run: str = self._ask(f"/api/v2/dags/{dag_id}/dagRuns", "POST", {"logical_date": None, "conf": dict(conf)})[
            "dag_run_id"
        ]
        return run

    def state(self, dag_id: str, run_id: str) -> str:
        """Of a run: queued, running, success or failed."""
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")["state"]
        return state

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Stop a DAG from being scheduled, or let it be."""
        self.patch(f"/dags/{dag_id}", {"is_paused": paused})

    def unpause_once_read(self, dag_ids: Sequence[str], *, patience_s: float) -> set[str]:
        """Wait until Airflow has read all these DAGs, then let them be scheduled, in this order; returns those that were paused.

        One that the clock starts and that never ran is started at once: its last tick was missed.
        """
        deadline = time.monotonic() + patience_s
        while missing := set(dag_ids) - (paused := self._paused()).keys():
            if time.monotonic() > deadline:
                broken = [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]
                raise PlatformError(
                    f"Airflow did not read {', '.join(sorted(missing))} in {patience_s:.0f} s. {' '.join(broken)}"
                )
            time.sleep(1)
        were_paused = {dag_id for dag_id in dag_ids if paused[dag_id]}
        for dag_id in dag_ids:
            self.pause(dag_id, paused=False)
        return were_paused

    def _paused(self) -> dict[str, bool]:
        """Every DAG that Airflow has read, and whether it is paused."""
        return {dag["dag_id"]: dag["is_paused"] for dag in self.get("/dags?limit=100")["dags"]}

    def _ask(self, path: str, method: str, body: Mapping[str, Any] | None = None, attempts: int = ATTEMPTS) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._address}{path}", data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            if attempts == 1 or error.code < 500:
                raise PlatformError(f"Airflow answers {error.code} to {method} {path}: {said}") from error
        except OSError as error:  # URLError and TimeoutError are kinds of it
            raise PlatformError(
                f"Airflow does not answer {method} {path}: {error}. Its log says more: airflow.log in the workspace, or "
                "`docker compose logs airflow-api`."
            ) from error
        time.sleep(1)
        return self._ask(path, method, body, attempts - 1)
