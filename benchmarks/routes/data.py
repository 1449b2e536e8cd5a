"""Rows of the benchmarks, read where they lie: they are no part of this repository."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard.errors import InputError

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def folder() -> Path:
    """The folder that `LETHE_DATA` names, or the one beside the repository."""
    return Path(os.environ.get("LETHE_DATA") or ROOT.parent / "shared" / "data")


@dataclass(frozen=True)
class Data:
    """A folder with one folder per benchmark.

    Attributes:
        folder: where it lies.
        digests: SHA-256 of every file that was read, by name.
    """

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)

    def rows(self, name: str) -> list[Row]:
        """The rows of a JSON Lines file, such as "tofu/retain".

        Raises:
            InputError: it is not there.
        """
        path = self.folder / f"{name}.jsonl"
        if not path.is_file():
            raise InputError(f"{path} is missing; set LETHE_DATA to the folder that holds the benchmarks")
        content = path.read_bytes()
        self.digests[name] = hashlib.sha256(content).hexdigest()
        return [json.loads(line) for line in content.decode("utf-8").split("\n") if line.strip()]
