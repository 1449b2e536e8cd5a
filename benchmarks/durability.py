"""Kills servers at random moments while targets are registered, and counts what is lost.

python -m benchmarks.durability [--kills 100] [--seed 7] [--out benchmarks/results/durability.json]

An admin server (the real routes, guard, store and ledger; no engine) is sent imports of 20 to 250 targets,
single registrations, replacements and removals by two clients, and killed with SIGKILL: mostly while they
work, sometimes while it starts, on a fresh database too. Then the database is inspected, the next server is
started on it, and each order whose answer did not come is sent again. On SQLite, and on PostgreSQL where that
is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from benchmarks.durable import postgres
from benchmarks.durable.changes import Client
from benchmarks.durable.inspection import Found, inspect

PER_DATABASE = 10  # kills, then a fresh one
CLIENTS = ("left", "right")
STARTING = 0.2  # share of the kills that come while the server starts
LATEST = (0.6, 1.5)  # seconds until a kill: from the start, and from the first acknowledgement, at most
COUNTED = (
    "kills while working",
    "kills while starting",
    "orders acknowledged",
    "targets acknowledged",
    "targets lost",
    "half-written",
    "ledger or history wrong",
    "under way, found done",
    "under way, found undone",
    "sent again, was done before",
    "sent again, done then",
    "ledger entries verified",
)
WRONG = ("targets lost", "half-written", "ledger or history wrong")
console = Console()


class Servers:
    """Starts servers; see `benchmarks.durable.server`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.durable.server"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, home: Path, database: str) -> tuple[int, int]:
        """Process id and port of a server that has just begun to start."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"home": str(home), "database": database}) + "\n")
        self._process.stdin.flush()
        started = json.loads(self._process.stdout.readline())
        return started["pid"], started["port"]

    def close(self) -> None:
        """Ends the process that starts them."""
        self._process.communicate()


def measure(servers: Servers, database: str, kills: int, rng: random.Random) -> dict[str, Any]:
    """Counts over all kills; ``database`` is the URL of a PostgreSQL server, or "sqlite"."""
    counts = Counter(dict.fromkeys(COUNTED, 0))
    for first in track(
        range(0, kills, PER_DATABASE), f"kills on {database.partition('+')[0]}", console=console
    ):
        with tempfile.TemporaryDirectory() as folder, _fresh(database, Path(folder)) as url:
            clients = [Client(name, random.Random(rng.getrandbits(64))) for name in CLIENTS]
            for _ in range(min(PER_DATABASE, kills - first)):
                starting = rng.random() < STARTING
                moment = rng.uniform(0, LATEST[not starting])
                _round(servers, Path(folder), url, clients, starting, moment)
                counts.update(_counted(inspect(Path(folder), url, clients)))
                counts["kills while starting" if starting else "kills while working"] += 1
            for client in clients:
                counts["orders acknowledged"] += client.acknowledged
                counts["targets acknowledged"] += client.targets
                counts["sent again, was done before"] += client.resent[0]
                counts["sent again, done then"] += client.resent[1]
    return dict(counts)


def _round(
    servers: Servers, home: Path, url: str, clients: list[Client], starting: bool, moment: float
) -> None:
    """Starts a server, has the clients work, and kills it."""
    pid, port = servers.start(home, url)
    acknowledged = threading.Event()
    failures: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            for _ in client.work(port):
                acknowledged.set()
        except BaseException as error:
            failures.append(error)
            acknowledged.set()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    if not starting:
        acknowledged.wait()
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    while _alive(pid):
        time.sleep(0.005)
    if failures:
        raise failures[0]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _counted(found: Found) -> Counter[str]:
    for what, names in (("lost", found.lost), ("half", found.halves), ("problem", found.problems)):
        for name in names[:5]:
            console.print(f"{what}: {name}")
    return Counter(
        {
            "targets lost": len(found.lost),
            "half-written": len(found.halves),
            "ledger or history wrong": len(found.problems),
            "under way, found done": found.done,
            "under way, found undone": found.undone,
            "ledger entries verified": found.entries,
        }
    )


@contextmanager
def _fresh(database: str, home: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if database == "sqlite":
        yield f"sqlite:///{home / 'lethe.db'}"
        return
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    name = f"lethe_{random.getrandbits(48):x}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield make_url(database).set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


def main() -> int:
    """Writes the results and shows them; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="on each database")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "durability.json")
    options = parser.parse_args()
    started = time.perf_counter()
    results = _results(options.kills, options.seed)
    report = {"benchmark": "durability", "command": "make bench-durability", "seed": options.seed}
    report |= {"seconds": round(time.perf_counter() - started), "cores": os.cpu_count(), "results": results}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    table = Table("", *results)
    for name in COUNTED:
        table.add_row(name, *(f"{counts[name]:,}" for counts in results.values()))
    console.print(table)
    return int(any(counts[name] for counts in results.values() for name in WRONG))


def _results(kills: int, seed: int) -> dict[str, dict[str, Any]]:
    servers, program = Servers(), postgres.initdb()
    try:
        results = {"sqlite": measure(servers, "sqlite", kills, random.Random(seed))}
        if program is None:
            console.print("PostgreSQL is not installed, so it is left out")
        else:
            with postgres.server(program) as url:
                results["postgresql"] = measure(servers, url, kills, random.Random(seed))
        return results
    finally:
        servers.close()


if __name__ == "__main__":
    sys.exit(main())
