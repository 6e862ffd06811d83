"""The files around the code say what is true of it: citation, change log, hooks, CI."""

import os
import re
import tomllib

import yaml

from tests.docs.pages import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("version")


def _yaml(path: str) -> dict:
    loaded: dict = yaml.safe_load((ROOT / path).read_text("utf-8"))
    return loaded


def test_the_citation_has_what_its_format_demands():
    citation = _yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all(author.get("family-names") or author.get("name") for author in paper["authors"])


def test_citation_and_change_log_are_of_this_version():
    # the changes since then come first, under "Unreleased"
    first = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert first
    assert _yaml("CITATION.cff")["version"] == first[1]
    # a dynamic version stands in the package
    assert VERSION in (None, first[1])


def test_hooks_are_local_and_run_the_tools_of_the_environment():
    for repository in _yaml(".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert hook["entry"].startswith(".venv/bin/")


def test_ci_runs_what_a_person_runs():
    steps = _yaml(".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make docs" in commands


def test_issue_templates_have_a_name_a_description_and_fields():
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        if path.name == "config.yml":
            continue
        template = _yaml(path.relative_to(ROOT).as_posix())
        assert {"name", "description", "body"} <= set(template)
        fields = [item for item in template["body"] if item["type"] != "markdown"]
        assert len({item["id"] for item in fields}) == len(fields) > 0


def test_the_first_screen_of_the_readme():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    first = next(number for number, line in enumerate(lines, start=1) if line.startswith("make demo"))
    assert first < 25
    assert any("not for clinical use" in line for line in lines[:first])
    assert any(line.startswith("![") for line in lines[:40])
