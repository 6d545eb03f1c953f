"""Become MLflow's server, where its own command line starts one and waits beside it with 200 MB that nobody needs.

The arguments are those of `mlflow`. It replaces one private function of MLflow's, and fails at the start when that is gone;
`mlflow server …` does the same with more memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import mlflow.cli
import mlflow.server


def become(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    """Replace this process by the server that MLflow has put together."""
    os.execvpe(command[0], list(command), {**os.environ, **extra_env})


def main() -> None:
    """Run MLflow's command line with that difference."""
    if not callable(getattr(mlflow.server, "_exec_cmd", None)):
        raise SystemExit("This MLflow starts its server in another way; run `mlflow server` instead of this file.")
    setattr(mlflow.server, "_exec_cmd", become)  # noqa: B010, for mypy knows it as another function
    mlflow.cli.cli()


if __name__ == "__main__":
    main()
