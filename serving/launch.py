"""A server in a process of its own: started, waited for, and stopped with everything it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from guard.errors import LetheError

STOP_SECONDS = 20.0
# Both servers of a comparison start alike: eager, and on a CPU with the settings `lethe serve` takes there.
EAGER = ("--enforce-eager",)
PLAIN_ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


class ServerDied(LetheError, RuntimeError):
    """A server process ended, or did not answer in time; the message shows the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str  # without a trailing slash
    process: subprocess.Popen[bytes]
    log: Path
    started: float  # time.perf_counter() at its start

    def wait(
        self, path: str = "/health", limit: float = 300.0, tick: Callable[[], None] | None = None
    ) -> float:
        """Waits until ``path`` answers 200; returns the seconds since the start.

        Raises:
            ServerDied: the process ended first, or ``limit`` seconds passed.
        """
        while time.perf_counter() - self.started < limit:
            if self.process.poll() is not None:
                raise ServerDied(f"the server ended with status {self.process.returncode}\n{self.log_tail()}")
            try:
                if httpx.get(self.url + path, timeout=5).status_code == 200:
                    return time.perf_counter() - self.started
            except httpx.HTTPError:
                pass
            if tick:
                tick()
            time.sleep(0.25)
        raise ServerDied(f"the server did not answer {path} within {limit:.0f} s\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def guarded_command(arguments: Sequence[str]) -> list[str]:
    """The command line of `lethe serve` with these arguments."""
    return [str(Path(sys.executable).with_name("lethe")), "serve", *arguments]


def plain_command(model: Path, arguments: Sequence[str]) -> list[str]:
    """The command line of vLLM's own server, without the guard."""
    entry = "vllm.entrypoints.launchers.api_server.entry"
    return [sys.executable, "-m", entry, "--model", str(model), *arguments]


def free_port() -> int:
    """A TCP port on the loopback interface that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """A server for the time of the block; ``--host`` and ``--port`` are added to the command."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # so that the engine processes can be stopped along with it
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log, time.perf_counter())
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()
