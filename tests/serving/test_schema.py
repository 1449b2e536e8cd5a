"""The admin API does what its OpenAPI document says: schemathesis asks it everything the document allows."""

import json
import re
import subprocess
import sys

import httpx
import pytest
from admin_fixtures import CALLS
from control_fixtures import KEY, Served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ensure_resource_availability",
    "ignored_auth",
)
"""All that schemathesis knows, but for four.

positive_data_acceptance: a schema cannot say that a key's end must lie ahead, or that a line is JSON.
allow_header_conformance: where a path has several methods, the framework's 405 names the first ones only.
use_after_free: a receipt outlives its target.
object_level_authorization: every key sees every target.
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        for number in range(20):
            served.traffic.note([f"Who is number {number}?"], "Nobody.", "allow", f"req-{number}")
        yield served


@pytest.fixture(scope="module")
def document(served):
    return httpx.get(f"{served.url}/openapi.json").json()


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def references(node):
    if isinstance(node, list):
        return {name for item in node for name in references(item)}
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if "$ref" in node else set()
    return own | {name for item in node.values() for name in references(item)}


def test_every_operation_is_described_with_its_body_its_errors_and_its_key(document):
    assert len(operations(document)) == len(CALLS) + 1
    for name, operation in operations(document).items():
        assert operation["description"].endswith("."), name
        assert operation["operationId"].startswith("lethe_"), name
        for status, response in operation["responses"].items():
            kinds = response["content"]
            if status >= "400" and not name.endswith("/ready"):
                assert kinds == {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
            assert all(kind["schema"] for kind in kinds.values()), name
        if name.startswith(("POST", "PUT", "PATCH")) and not re.search("activate|rollback", name):
            assert operation["requestBody"]["required"], name
        if not name.endswith("/ready"):
            assert operation["security"] == [{"bearer": []}, {"header": []}], name
            assert {"401", "403", "422", "500", "503"} <= operation["responses"].keys(), name


def test_every_reference_leads_to_a_component(document):
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == known


def test_schemathesis_finds_nothing(served, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {KEY}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", "25", "--seed", "1", "--no-shrink"]
    command += ["--report", "json", "--report-json-path", str(tmp_path / "report.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert f"Tested: {len(CALLS) + 1}" in done.stdout
    assert "Authentication failed" not in done.stdout
    (count,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(count) > 1000
    assert served.log.head().entry > 50, "changes were made, not only refused"
    assert json.loads((tmp_path / "report.json").read_text())
