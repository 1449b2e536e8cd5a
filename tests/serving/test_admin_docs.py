"""What is declared in code is in the documents, so that they cannot go stale."""

import re
from pathlib import Path

from admin_fixtures import NEEDS

from guard import ForgetTarget
from guard.types import Action
from serving.admin import PREFIX, STATUS, admin, public
from serving.identity import Role

DOCS = Path(__file__).parents[2] / "docs"
ADMIN = (DOCS / "admin.md").read_text(encoding="utf-8")
TARGETS = (DOCS / "targets.md").read_text(encoding="utf-8")


def test_routes_and_documents_agree():
    served = {f"{m} {r.path}" for router in (admin, public) for r in router.routes for m in r.methods}
    rows = re.findall(r"^\| `([A-Z]+ /lethe\S+)` \| (?:`(\w+)`|none) \|", ADMIN, re.MULTILINE)
    assert {call for call, _ in rows} == served
    documented = {call.replace(PREFIX, ""): role for call, role in rows if role}
    assert documented == {call: role for role, calls in NEEDS.items() for call in calls}


def test_roles_and_documents_agree():
    section = ADMIN.split("## Keys and roles")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Role)


def test_links_in_the_documents_of_http_lead_somewhere():
    for name in ("http.md", "admin.md"):
        text = (DOCS / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^):]+)\)", text):
            page, _, anchor = link.partition("#")
            target = (DOCS / (page or name)).read_text(encoding="utf-8")
            heads = [
                re.sub(r"[^\w-]", "", h.lower().replace(" ", "-"))
                for h in re.findall(r"^#+ (.*)", target, re.M)
            ]
            assert not anchor or anchor in heads, link


def test_error_types_and_documents_agree():
    documented = {(int(s), t) for s, t in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", ADMIN, re.MULTILINE)}
    assert documented == {*STATUS.values(), (500, "internal_error")}


def test_target_fields_and_documents_agree():
    fields = TARGETS.split("## Fields")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE) == list(ForgetTarget.model_fields)


def test_actions_and_documents_agree():
    actions = TARGETS.split("## Actions")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", actions, re.MULTILINE) == [
        a.value for a in Action if a is not Action.ALLOW
    ]
