"""Ask a server whether it does what it is for; the exit code is the answer, what was wrong is printed for `docker inspect`.

By the standard library only: it runs every few seconds beside each server.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.request
from configparser import ConfigParser
from pathlib import Path

TIMEOUT_S = 8


def unhealthy(url: str, parts: list[str], credentials: Path | None) -> str:
    """What is wrong; empty when nothing is.

    `parts` are those of Airflow's health answer that must be there and say healthy. `credentials` is a file of MLflow's form.
    """
    request = urllib.request.Request(url)
    if credentials is not None:
        known = ConfigParser(interpolation=None)
        known.read(credentials)
        login = f"{known['mlflow']['mlflow_tracking_username']}:{known['mlflow']['mlflow_tracking_password']}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        body = answer.read()
    said = json.loads(body) if parts else {}
    wrong = [f"{part} is {(said.get(part) or {}).get('status')}" for part in parts]
    return "; ".join(text for text in wrong if not text.endswith(" is healthy"))


def main() -> None:
    """Exit 0 for healthy, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("parts", nargs="*", help="parts of Airflow that must be healthy")
    parser.add_argument("--credentials", type=Path, help="an MLflow credentials file to log in with")
    given = parser.parse_args()
    try:
        wrong = unhealthy(given.url, given.parts, given.credentials)
    except (OSError, ValueError, KeyError) as error:
        wrong = repr(error)
    if wrong:
        print(wrong)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
