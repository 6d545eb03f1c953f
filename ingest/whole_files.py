"""Write a file whole or not at all: whoever looks sees the old one or the new one, never a half, whenever a process is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.errors import LakeError


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all. Raises LakeError when the disk refuses."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file beside its place and move it there once it is on the disk.

    Raises LakeError when the disk refuses; what stood there before still stands.
    """
    try:
        replace_whole(path, write)
    except OSError as error:
        raise LakeError(
            f"{path} could not be written: {error.strerror or error}. Free some disk space or mend the folder, then try again."
        ) from error


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Do as `write_whole` does, for a caller with words of its own for a disk that refuses. Raises OSError."""
    # The process is part of the name because a scheduler's tasks may write the same file at once.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's entries, are on the disk: a new name outlives a power cut only with its folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
