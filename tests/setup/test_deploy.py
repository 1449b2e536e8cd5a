"""The deploy examples, read as their programs read them: names they use exist, times and rights fit."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml
from prometheus_client import REGISTRY

from serving import drain, metrics, serve
from serving.cli import app
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DEPLOYMENT, SERVICE = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = (DEPLOY / "lethe.service").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
READY = "/lethe/v1/ready"
# Names of PromQL that are no metrics.
WORDS = set("and or unless bool on ignoring group_left group_right offset by without inf nan".split())


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    """Every PromQL expression with where it stands."""
    for panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for group in ALERTS["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"[A-Za-z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {name for name in names if name not in WORDS}


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    chosen = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
    return set(chosen) | {name.strip() for names in grouped for name in names.split(",")}


def ours() -> set[str]:
    """Names of our samples, as Prometheus stores them."""
    names = set()
    for metric in metrics.METRICS:
        (family,) = metric.describe()
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + ending for ending in endings}
    return names


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+)s?", text)[1])


def test_the_reading_of_expressions_finds_metrics_and_nothing_else():
    assert metrics_in('sum by (le, a) (rate(x_bucket{a="y{z}"}[5m])) > 2 * max(vllm:u) and w') == {
        "x_bucket",
        "vllm:u",
        "w",
    }
    assert labels_in('sum by (le, a) (x{b=~"y", c!="d"})') == {"le", "a", "b", "c"}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_of_dashboard_and_alerts_exists(where, expression):
    found = metrics_in(expression)
    assert found, where
    process = {family.name for family in REGISTRY.collect() if family.name.startswith("process_")}
    others = {name for name in found if not name.startswith("vllm:")} - ours() - process - {"up"}
    assert not others
    own = {label for metric in metrics.METRICS for label in metric._labelnames}
    assert labels_in(expression) <= own | {"instance", "job", "le"}


def test_the_engines_metrics_are_those_of_the_installed_engine():
    spec = find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations
    source = (Path(spec.submodule_search_locations[0]) / "v1/metrics/loggers.py").read_text()
    asked = {name for _, expression in expressions() for name in metrics_in(expression) if ":" in name}
    assert asked
    for name in asked:
        assert f'"{name.removesuffix("_total")}"' in source


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_asks_the_provisioned_source():
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    (uid,) = (entry["uid"] for entry in source["datasources"])
    assert {panel["datasource"]["uid"] for panel in panels()} == {uid}
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/lethe.yaml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    mounts = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert any(Path(mount).parent == Path(folder) for mount in mounts)


def test_every_metric_of_ours_is_shown_or_alerted_on():
    used = {name for _, expression in expressions() for name in metrics_in(expression)}
    for metric in metrics.METRICS:
        (family,) = metric.describe()
        assert any(name.startswith(family.name) for name in used), family.name


def test_prometheus_reads_the_rules_and_the_server():
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert [name for name in config["rule_files"] if (DEPLOY / "prometheus" / name).is_file()]
    (job,) = config["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert port == "8000"
    assert any(f'job="{job["job_name"]}"' in expression for _, expression in expressions())


def test_alerts_say_how_urgent_they_are_and_what_happened():
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_compose_mounts_and_builds_what_is_there():
    for service in COMPOSE["services"].values():
        sources = [volume.split(":")[0] for volume in service.get("volumes", ())]
        for source in sources:
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    build = COMPOSE["services"]["server"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_compose_holds_no_secret_and_names_those_it_needs():
    text = (DEPLOY / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    assert set(example) == needed
    assert not any(example.values())
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "KEY" in name:
                assert value.startswith("${")


def test_only_the_server_is_within_reach_and_only_of_this_machine():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert "ports" not in COMPOSE["services"]["postgres"]


@pytest.mark.parametrize("path", sorted(p for p in DEPLOY.rglob("*") if p.is_file()), ids=lambda p: p.name)
def test_every_setting_that_an_example_names_exists(path):
    named = set(re.findall(r"\bLETHE_([A-Z_]+)\b", path.read_text()))
    assert named <= {field.upper() for field in Settings.model_fields} | {"CONFIG"}


def test_the_image_is_made_of_what_is_there():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    sources = [
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(sources)
    for extras in re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE):
        assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


def test_the_image_runs_as_nobody_special_and_tells_whether_it_is_ready():
    final = DOCKERFILE.split("\nFROM ")[-1]
    assert re.search(r"^USER lethe$", final, re.MULTILINE)
    assert final.index("USER lethe") < final.index("ENTRYPOINT")
    assert READY in final
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    assert 'ENTRYPOINT ["lethe"]' in final
    (check,) = re.findall(r"^  CMD (\[.*\])$", final, re.MULTILINE)
    compile(json.loads(check)[2], "healthcheck", "exec")


@pytest.mark.parametrize("text", [DOCKERFILE, (DEPLOY / "compose.yaml").read_text()])
def test_images_are_named_without_a_host(text):
    images = re.findall(r"^(?:FROM|\s+image:) ?(\S+)", text, re.MULTILINE)
    assert images
    assert not [image for image in images if "." in image.split("/")[0].split(":")[0]]


@pytest.mark.parametrize(
    ("given", "drained"),
    [
        (
            seconds(COMPOSE["services"]["server"]["stop_grace_period"]),
            int(COMPOSE["services"]["server"]["environment"]["LETHE_DRAIN_SECONDS"]),
        ),
        (seconds(re.search(r"^TimeoutStopSec=(.*)$", UNIT, re.MULTILINE)[1]), 30),
        (POD["terminationGracePeriodSeconds"] - 10, 30),
    ],
    ids=["compose", "systemd", "kubernetes"],
)
def test_nothing_is_killed_while_it_drains(given, drained):
    assert Settings.model_fields["drain_seconds"].default == 30
    assert given >= drained + drain.STOP_SECONDS + serve.CLOSE_SECONDS


def test_the_pod_is_ready_by_the_guards_own_word_and_waits_before_it_stops():
    (container,) = POD["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == READY
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert POD["securityContext"]["runAsUser"] == int(re.search(r"--uid (\d+)", DOCKERFILE)[1])


def test_the_operations_page_and_the_alerts_name_commands_that_exist():
    root = typer.main.get_command(app)
    text = OPERATIONS + (DEPLOY / "prometheus" / "alerts.yml").read_text()
    named = re.findall(r"\blethe ((?:[a-z-]+ ?)+)", text)
    groups = {words[0]: words[1:] for line in named if (words := line.split())[0] in root.commands}
    assert {"serve", "audit", "database", "keys", "snapshots", "targets"} <= groups.keys()
    for line in named:
        first, *rest = line.split()
        group = root.commands.get(first)
        if rest and isinstance(group, typer.core.TyperGroup):
            assert rest[0] in group.commands, line


def test_the_operations_page_tells_every_page_alert_and_the_drain():
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    for rule in rules:
        if rule["labels"]["severity"] == "page":
            assert f"`{rule['alert']}`" in OPERATIONS
    for name in ("LETHE_DRAIN_SECONDS", "LETHE_LOG_FORMAT", "LETHE_TRACING", "LETHE_DATABASE", READY):
        assert name in OPERATIONS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path):
    unit = tmp_path / "lethe.service"
    # The one thing that verification looks for on this machine.
    unit.write_text(UNIT.replace("/opt/lethe/bin/lethe", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
