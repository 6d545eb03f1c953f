"""A version says which code made it, in an image too."""

from __future__ import annotations

import pytest

from training import candidate
from training.candidate import git_commit


@pytest.mark.parametrize(("told", "said"), [("4f1c2d", "4f1c2d"), ("", "unknown"), (None, "unknown")])
def test_an_image_was_told_when_it_was_built(told: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is neither git nor a checkout in it."""

    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(candidate.subprocess, "run", no_git)
    monkeypatch.delenv("GIT_COMMIT", raising=False)
    if told is not None:
        monkeypatch.setenv("GIT_COMMIT", told)
    assert git_commit() == said
