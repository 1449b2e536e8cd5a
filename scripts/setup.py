"""Creates .venv with everything the make targets need; a second run finds its stamp and does nothing.

Standard library and old syntax only (Python 3.8), so that it can say which Python is missing.

    LETHE_BUILD=cpu|gpu       build of vLLM to install (default: gpu where nvidia-smi works, else cpu)
    LETHE_PYTHON=PATH         interpreter to use (default: the first of Python 3.11, 3.12, 3.13 found)
    LETHE_MIN_FREE_GB=NUMBER  free disk space to insist on before installing (default: 6)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import machine
from machine import SetupError

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "lethe-stamp.json"
INPUTS = ("pyproject.toml", "constraints.txt", "excludes.txt")
EXTRAS = {"cpu": ".[cpu,bench,dev]", "gpu": ".[gpu,bench,dev]"}
FREE_GB = 6.0  # the CPU environment takes about 4 GB, the downloads come on top
UPDATE_GB = 1.0  # when the environment is complete already
TAIL = 15  # lines of the installer's output shown when it fails


def main() -> int:
    """Exit status of the set-up: 0 when .venv is ready, 1 with one sentence on stderr when it is not."""
    try:
        with locked():
            prepare()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; run the same command again to continue.", file=sys.stderr)
        return 130
    return 0


def prepare() -> None:
    """Brings .venv to the state the stamp describes, or returns at once if it is there already.

    Raises:
        SetupError: something the user must change.
    """
    stamp = read_stamp()
    build = choose_build(stamp)
    version, _ = machine.probe(program("python"))
    stale = is_stale(stamp, build, version)
    if not stale and stamp == expected_stamp(build, version):
        return
    machine.check_space(ROOT, UPDATE_GB if stamp and not stale else FREE_GB)
    if stale:
        create = ["-m", "venv", "--without-pip", "--clear", str(VENV)]
        run([machine.find_python(), *create], "Python could not create .venv")
        version, _ = machine.probe(program("python"))
    if version not in machine.VERSIONS:
        wanted = machine.spoken(machine.VERSIONS)
        raise SetupError(f".venv holds Python {version}, Lethe needs {wanted}; delete .venv and run again.")
    write_stamp({"build": build, "root": str(ROOT)})  # no digest: an interrupted installation starts over
    say(f"installing the {build.upper()} build for Python {version} into .venv, a few minutes")
    install(build, version)
    write_stamp(expected_stamp(build, version))
    say("done")


def is_stale(stamp: dict[str, str], build: str, version: str) -> bool:
    """True if .venv must be made anew: absent, broken, half installed, or not for this build, place, Python.

    A .venv that works and has no stamp is the user's own: it is completed, not replaced.
    """
    if not version:
        return True
    asked = os.environ.get("LETHE_PYTHON")
    if asked and machine.probe(asked)[0] != version:
        return True
    same = stamp.get("build") == build and stamp.get("root") == str(ROOT) and "digest" in stamp
    return bool(stamp) and not same


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Holds the lock of the checkout's folder, so that two set-ups never write one .venv."""
    handle = os.open(str(ROOT), os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running here; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def choose_build(stamp: dict[str, str]) -> str:
    """Build of vLLM, cpu or gpu: as asked for, as installed, or as the machine suggests."""
    asked = os.environ.get("LETHE_BUILD", "").strip().lower()
    if asked and asked not in EXTRAS:
        raise SetupError(f"LETHE_BUILD is {asked!r}; use cpu or gpu.")
    return asked or stamp.get("build") or ("gpu" if machine.has_gpu() else "cpu")


def install(build: str, version: str) -> None:
    """Installs the checkout, editable, with the extras of the build and the pinned versions."""
    python = program("python")
    _, base = machine.probe(python)
    links = machine.find_links(base)
    command = [installer(), "pip", "install", "--python", python, "-c", "constraints.txt"]
    for link in links:
        command += ["--find-links", link]
    if build == "cpu":
        # vLLM names these three, but no build of them matches the CPU torch and importing them fails.
        command += ["--excludes", "excludes.txt"]
        if not machine.offers_cpu_torch(links, version):
            command += ["--torch-backend=cpu"]
    run([*command, "-e", EXTRAS[build]], "uv could not install Lethe")


def installer() -> str:
    """Path of uv: the user's own if it is recent enough to know exclusions, else one put into .venv."""
    own = shutil.which("uv")
    if own and "--excludes" in (machine.answer([own, "pip", "install", "--help"]) or ""):
        return own
    if not Path(program("uv")).exists():
        run([program("python"), "-m", "ensurepip"], "Python could not install pip into .venv")
        pip = [program("python"), "-m", "pip", "install", "-c", "constraints.txt"]
        run([*pip, "uv"], "pip could not install uv")
    return program("uv")


def run(command: list[str], failure: str) -> None:
    """Runs an installer and shows its milestones; the addresses it prints stay out of our output.

    Raises:
        SetupError: it failed; the message carries the end of its output.
    """
    process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = []
    for raw in process.stdout or ():
        line = re.sub(r"\b(?:https?|file)://[^\s)>`]+", "<address>", raw.decode(errors="replace").rstrip())
        lines.append(line)
        if re.match(r"\s*(Resolved|Downloading|Prepared|Installed)\b", line):
            say(line.strip())
    if process.wait() != 0:
        raise SetupError(
            failure + "; the end of its output:\n" + "\n".join("    " + x for x in lines[-TAIL:])
        )


def program(name: str) -> str:
    """Path of a program inside .venv."""
    return str(VENV / "bin" / name)


def expected_stamp(build: str, version: str) -> dict[str, str]:
    """What the stamp says when everything is installed."""
    digest = hashlib.sha256(repr((build, version)).encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return {"build": build, "root": str(ROOT), "digest": digest.hexdigest()}


def read_stamp() -> dict[str, str]:
    """The stamp of the last set-up, empty if there is none."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: dict[str, str]) -> None:
    """Replaces the stamp in one step."""
    draft = STAMP.with_suffix(".new")
    draft.write_text(json.dumps(stamp))
    draft.replace(STAMP)


def say(sentence: str) -> None:
    """Prints one line of progress."""
    print(f"set-up: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
