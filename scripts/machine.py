"""What the machine offers to an installation: interpreters, a GPU, disk space, local wheels.

Standard library and old syntax only: `scripts/setup.py` uses it under whatever python3 there is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")  # in order of preference: constraints.txt is verified on the first
PROBE = """
import sys
print("%d.%d" % sys.version_info[:2])
print(getattr(sys, "_base_executable", None) or sys.executable)
"""


class SetupError(Exception):
    """One sentence for the user: what is wrong and what to do."""


def has_gpu() -> bool:
    """True if nvidia-smi lists a device."""
    return "GPU" in (answer(["nvidia-smi", "-L"]) or "")


def find_python() -> str:
    """Path of the preferred suitable interpreter.

    Raises:
        SetupError: none of the candidates has a supported version.
    """
    asked = os.environ.get("LETHE_PYTHON")
    candidates = [asked] if asked else [sys.executable] + ["python" + version for version in VERSIONS]
    found: dict[str, str] = {}
    for candidate in candidates:
        version, path = probe(candidate)
        if version:
            found.setdefault(version, path)
    for version in VERSIONS:
        if version in found:
            return found[version]
    seen = spoken(sorted(found)) if found else "no usable Python"
    raise SetupError(
        f"Lethe needs Python {spoken(VERSIONS)} and found {seen}; "
        "install one of them, or name it with LETHE_PYTHON=/path/to/python."
    )


def probe(python: str) -> tuple[str, str]:
    """Version and base path of an interpreter, both empty if it does not run (a dead shim, say)."""
    lines = (answer([python, "-c", PROBE]) or "").splitlines()
    return (lines[0], lines[1]) if len(lines) == 2 else ("", "")


def check_space(folder: Path, needed_gb: float) -> None:
    """Nothing if the disk has room; LETHE_MIN_FREE_GB overrides what counts as room.

    Raises:
        SetupError: it has not.
    """
    asked = os.environ.get("LETHE_MIN_FREE_GB")
    needed_gb = float(asked) if asked else needed_gb
    free_gb = shutil.disk_usage(str(folder)).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            f"the disk of {folder} has {free_gb:.1f} GB free and the installation needs {needed_gb:.0f} GB; "
            "make room and run again."
        )


def find_links(python: str) -> list[str]:
    """Places pip is configured to take wheels from; uv does not read pip's configuration."""
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    for key in ("global.find-links", "install.find-links"):
        places += (answer([python, "-m", "pip", "config", "get", key]) or "").split()
    return list(dict.fromkeys(places))


def offers_cpu_torch(links: list[str], version: str) -> bool:
    """True if a local find-links directory holds a CPU wheel of torch for this Python."""
    tag = "-cp" + version.replace(".", "") + "-"
    names: list[str] = []
    for link in links:
        folder = Path(re.sub("^file://", "", link))
        names += [path.name for path in folder.glob("torch-*.whl")] if folder.is_dir() else []
    return any("+cpu" in name.replace("%2B", "+") and tag in name for name in names)


def answer(command: list[str]) -> str | None:
    """Standard output of a short command, or None if it is missing, hangs or fails."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def spoken(words: list[str] | tuple[str, ...]) -> str:
    """The words as an English list: one, two or three."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
