"""What is declared in code is in the documents, so that they cannot go stale."""

import re
from pathlib import Path

import pytest

from guard import ForgetTarget
from guard.pipeline import NEUTRAL, REFUSAL
from guard.types import Action
from serving.admin import STATUS, admin, public
from serving.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
HTTP = (DOCS / "http.md").read_text(encoding="utf-8")
TARGETS = (DOCS / "targets.md").read_text(encoding="utf-8")


def exposed(metric):
    """The name under which a metric is scraped: the client library adds the ending of counters."""
    (family,) = metric.describe()
    return family.name + ("_total" if family.type == "counter" else "")


@pytest.mark.parametrize("metric", METRICS, ids=exposed)
def test_metric_is_documented_with_its_type(metric):
    (family,) = metric.describe()
    assert re.search(rf"^\| `{exposed(metric)}` \| {family.type} \|", HTTP, re.MULTILINE)


def test_no_documented_metric_is_missing_from_the_code():
    assert set(re.findall(r"^\| `(lethe_\w+)` \|", HTTP, re.MULTILINE)) == {exposed(m) for m in METRICS}


def test_routes_and_documents_agree():
    served = {f"{m} {r.path}" for router in (admin, public) for r in router.routes for m in r.methods}
    assert set(re.findall(r"^\| `([A-Z]+ /lethe\S+)` \|", HTTP, re.MULTILINE)) == served


def test_error_types_and_documents_agree():
    documented = {(int(s), t) for s, t in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", HTTP, re.MULTILINE)}
    assert documented == {*STATUS.values(), (500, "internal_error")}


def test_target_fields_and_documents_agree():
    fields = TARGETS.split("## Fields")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE) == list(ForgetTarget.model_fields)


def test_actions_and_documents_agree():
    actions = TARGETS.split("## Actions")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", actions, re.MULTILINE) == [
        a.value for a in Action if a is not Action.ALLOW
    ]


def test_default_texts_are_quoted():
    assert REFUSAL in HTTP
    assert NEUTRAL in HTTP
