"""A small client of Airflow's REST API, for what `mlops up` does in its user's place."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ingest.errors import PlatformError

#: Where Airflow's simple auth manager leaves the password that it made up for each user.
PASSWORDS = Path("airflow") / "simple_auth_manager_passwords.json.generated"

ANSWER_TIMEOUT_S = 30
#: Its SQLite file may be locked for as long as `in_process.PATIENCE_WITH_WRITERS_S`; then it answers 500, and nothing has happened.
ATTEMPTS = 6


class AirflowApi:
    """The API of the Airflow at `address` that keeps its files in `home`; logs in as that Airflow's own admin."""

    def __init__(self, address: str, home: Path) -> None:
        self._address, self._headers = address, {"Content-Type": "application/json"}
        [(user, password), *_] = json.loads((home / PASSWORDS).read_text(encoding="utf-8")).items()
        login = self._ask("/auth/token", "POST", {"username": user, "password": password})
        self._headers["Authorization"] = f"Bearer {login['access_token']}"

    def get(self, path: str) -> Any:
        """What is at `path`, below /api/v2. Raises PlatformError with Airflow's own words when it refuses."""
        return self._ask(f"/api/v2{path}", "GET")

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change what is at `path`, below /api/v2. Raises PlatformError with Airflow's own words when it refuses."""
        return self._ask(f"/api/v2{path}", "PATCH", body)

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Stop a DAG from being scheduled, or let it be."""
        self.patch(f"/dags/{dag_id}", {"is_paused": paused})

    def unpause_once_read(self, dag_ids: Sequence[str], *, patience_s: float) -> None:
        """Wait until Airflow has read all these DAGs, then let them be scheduled, in this order."""
        deadline = time.monotonic() + patience_s
        while missing := set(dag_ids) - {dag["dag_id"] for dag in self.get("/dags?limit=100")["dags"]}:
            if time.monotonic() > deadline:
                broken = [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]
                raise PlatformError(
                    f"Airflow did not read {', '.join(sorted(missing))} in {patience_s:.0f} s. {' '.join(broken)}"
                )
            time.sleep(1)
        for dag_id in dag_ids:
            self.pause(dag_id, paused=False)

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
                f"Airflow does not answer {method} {path}: {error}. See airflow.log in the workspace."
            ) from error
        time.sleep(1)
        return self._ask(path, method, body, attempts - 1)
