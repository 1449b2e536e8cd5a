"""A PostgreSQL of its own for a benchmark."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def initdb() -> str | None:
    """The program that makes a server's files; None if PostgreSQL or its driver is not installed."""
    try:
        import psycopg  # noqa: F401
    except ModuleNotFoundError:
        return None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return str(found[-1]) if found else shutil.which("initdb")


@contextmanager
def server(program: str) -> Iterator[str]:
    """The URL of a running server's database, with the settings PostgreSQL has by default."""
    with tempfile.TemporaryDirectory() as folder:
        user = None
        if os.geteuid() == 0:  # it refuses to run as root
            user = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
            shutil.chown(folder, user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(*command: str) -> None:
            quiet = subprocess.DEVNULL
            subprocess.run(command, check=True, user=user, cwd=folder, stdout=quiet, stderr=quiet)

        run(program, "-D", f"{folder}/data", "-U", "lethe", "-A", "trust")
        control = (str(Path(program).with_name("pg_ctl")), "-D", f"{folder}/data", "-w")
        run(*control, "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}", "start")
        try:
            yield f"postgresql+psycopg://lethe@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "-m", "immediate", "stop")
