"""Makes the set-up scripts importable and lays out throw-away checkouts with stand-in programs on PATH."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files the set-up reads, and no .venv."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "excludes.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("setup.py", "machine.py"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[str, str], Path]:
    """Puts a shell script of the given name and body into a folder that `setup` finds first on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()

    def add(name: str, body: str) -> Path:
        path = folder / name
        path.write_text("#!/bin/sh\n" + body + "\n")
        path.chmod(0o755)
        return path

    return add


@pytest.fixture
def setup(checkout: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the set-up in the throw-away checkout, with the given environment on top of a clean one."""

    def run(**extra: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LETHE_", "PIP_"))}
        clean["PATH"] = f"{tmp_path / 'programs'}:{clean['PATH']}"
        return subprocess.run(
            [sys.executable, str(checkout / "scripts" / "setup.py")],
            env=clean | extra,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
