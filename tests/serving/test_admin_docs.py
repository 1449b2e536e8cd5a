"""What is declared in code is in the documents, so that they cannot go stale."""

import re
from pathlib import Path

from guard import ForgetTarget
from guard.types import Action
from serving.admin import STATUS, admin, public

DOCS = Path(__file__).parents[2] / "docs"
HTTP = (DOCS / "http.md").read_text(encoding="utf-8")
TARGETS = (DOCS / "targets.md").read_text(encoding="utf-8")


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
