"""The generated pages say what the code says."""

import re
import tomllib

import pytest

import docs
from guard import ForgetTarget
from serving.admin import router
from serving.probe import SURFACES


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "metrics.md", "errors.md"])
def test_page_is_not_out_of_date(name):
    assert docs.read(name) == docs.pages()[name], "run `make docs`"


def test_check_names_an_outdated_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(docs, "FOLDER", tmp_path)
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    with (tmp_path / "cli.md").open("a") as page:
        page.write("an edit by hand")
    capsys.readouterr()
    assert docs.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/cli.md is out of date; run `make docs`.\n"


def test_every_command_has_a_section():
    page = docs.pages()["cli.md"]
    for command in ("serve", "demo", "check", "compile", "targets add", "targets preview", "reference train"):
        assert f"# lethe {command}\n" in page


def test_readme_names_every_target_field_extra_and_route():
    text = (docs.FOLDER.parent / "README.md").read_text()
    project = tomllib.loads((docs.FOLDER.parent / "pyproject.toml").read_text())["project"]
    routes = {part for route in router.routes for part in route.path.split("/") if part.isalpha()}
    assert {"targets", "audit"} <= routes
    for word in {*ForgetTarget.model_fields, *project["optional-dependencies"]}:
        assert f"`{word}`" in text, word
    for word in routes:
        assert re.search(rf"\b{word}\b", text), word


def test_every_surface_of_the_probe_is_described():
    page = (docs.FOLDER / "probe.md").read_text()
    rows = dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == {name: surface.title.replace("|", "\\|") for name, surface in SURFACES.items()}


def test_readme_links_lead_somewhere():
    text = (docs.FOLDER.parent / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) >= 5
    for link in links:
        assert (docs.FOLDER.parent / link).is_file(), link
