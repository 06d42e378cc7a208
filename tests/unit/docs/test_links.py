"""Documents point at what exists: files, headings, and the numbered sections that the code cites."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)
_CITED = re.compile(r"DESIGN`*\s+§\s?(?P<number>[0-9]+(?:\.[0-9]+)?)")


def _tracked(*patterns: str) -> list[Path]:
    """Files of the repository by glob, new ones included; in an unpacked archive without git, from the disk."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())
    found = {path for pattern in patterns for path in ROOT.rglob(pattern)}
    return sorted(path for path in found if path.is_file() and not {".venv", ".middleman"} & set(path.parts))


DOCUMENTS = _tracked("*.md")


@cache
def _anchors(document: Path) -> frozenset[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text()))
    plain = (re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain)


def _broken(document: Path) -> list[str]:
    broken = []
    for match in _LINK.finditer(_FENCE.sub("", document.read_text())):
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            continue  # another site: not ours to check
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        if not file.exists() or ROOT not in (file, *file.parents):
            broken.append(f"{target}: no such file in the repository")
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file):
            broken.append(f"{target}: no such heading; there are {', '.join(sorted(_anchors(file)))}")
    return broken


def test_there_are_documents_to_check() -> None:
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert {"README.md", "CHANGELOG.md", "docs/architecture.md", "docs/adr/README.md"} <= names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_its_heading(document: Path) -> None:
    assert _broken(document) == []


def test_every_decision_is_in_the_index_and_every_index_entry_is_a_decision() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    decisions = {path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    assert decisions
    assert {m["target"] for m in _LINK.finditer(index)} == decisions


def test_every_section_of_the_design_that_the_code_cites_exists() -> None:
    sections = {text.split(" ")[0].rstrip(".") for text in _HEADING.findall(_design())}
    cited = {
        (str(path.relative_to(ROOT)), match["number"])
        for path in _tracked("*.py", "*.sql", "*.toml", "*.md")
        for match in _CITED.finditer(path.read_text())
    }
    assert cited, "the code cites the design by section"
    assert {(where, number) for where, number in cited if number not in sections} == set()


def test_the_safety_chain_names_for_each_link_the_file_and_the_test() -> None:
    rows = [
        line for line in _section("## The safety chain").splitlines() if re.match(r"\| *[0-9]+ *\|", line)
    ]
    targets = [[match["target"] for match in _LINK.finditer(row)] for row in rows]
    assert len(rows) == 10
    for row, found in zip(rows, targets, strict=True):
        shown_by = [target for target in found if target.startswith("tests/")]
        carried_by = [target for target in found if target.startswith(("services/", "migrations/"))]
        assert carried_by, f"no file implements: {row}"
        assert shown_by, f"no test shows: {row}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_in_the_file_that_it_names(document: Path) -> None:
    named = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", document.read_text())
    missing = [name for name, file in named if f"def {name}(" not in _text(document.parent / file)]
    assert missing == []


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _design() -> str:
    return (ROOT / "docs/design.md").read_text()


def _section(heading: str) -> str:
    readme = (ROOT / "README.md").read_text()
    _, found, rest = readme.partition(f"\n{heading}\n")
    assert found, f"the README has no section {heading!r}"
    return rest.partition("\n## ")[0]
