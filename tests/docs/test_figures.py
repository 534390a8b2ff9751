"""Every picture of the pages is traced to its command in docs/figures.md, every measured number to a file of docs/figures."""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

import pytest
from palimpsest_dev import figures
from palimpsest_dev.figures import Known, compared, untraced

DOCS = Path(__file__).parents[2] / "docs"
ROWS = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.+?) \| (.+?) \|$", (DOCS / "figures.md").read_text("utf-8"), re.M)


def test_every_picture_has_a_row_and_every_row_its_picture() -> None:
    pictures = {
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*") if path.suffix in {".svg", ".png", ".jpg"}
    }
    named = [path for path, *_ in ROWS]
    assert sorted(named) == sorted(pictures)


def test_every_row_says_how_and_when() -> None:
    assert [path for path, link, _, _ in ROWS if path != link] == []
    assert [path for path, _, made, _ in ROWS if "`" not in made and "by hand" not in made and made != "the same"] == []
    assert [path for path, *_, when in ROWS if not re.fullmatch(r".+, \d{4}-\d\d-\d\d", when)] == []


def test_every_measured_number_is_in_the_file_that_its_page_names_and_every_file_is_used() -> None:
    lacks, unused = compared()
    assert [str(lack) for lack in lacks] == [], (
        "`python -m palimpsest_dev.figures` prints what to put into docs/figures"
    )
    assert unused == []


def test_every_section_says_where_its_figures_are_from() -> None:
    known = Known.read()
    for name, section in known.sections.items():
        about = section.about
        assert set(about) <= {"command", "measured_at", "written_by", "date", "machine", "model", "note"}, name
        assert about["command"], name
        assert about["machine"], name
        assert isinstance(about["date"], datetime.date), name
        assert ("measured_at" in about) != ("written_by" in about), name


def test_every_commit_is_in_the_history() -> None:
    root = figures.ROOT
    shallow = ["git", "rev-parse", "--is-shallow-repository"]
    try:
        said = subprocess.run(shallow, cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        said = ""
    if said != "false":
        pytest.skip("needs the whole history")
    abouts = [section.about for section in Known.read().sections.values()]
    named = {commit for about in abouts for commit in about.get("measured_at") or about["written_by"]}
    checked = subprocess.run(
        ["git", "cat-file", "--batch-check"],
        cwd=root,
        input="".join(f"{commit}^{{commit}}\n" for commit in sorted(named)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(named) > 40
    assert [line for line in checked.stdout.splitlines() if " commit " not in line] == []


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("README.md", "restored 64 %", "restored 65 %"),
        ("docs/performance.md", "| 27.7 ms |", "| 27.8 ms |"),
        ("docs/performance.md", "takes 553 ms", "takes 535 ms"),
        ("docs/evaluation.md", "| 11.2 (9.4–13.3) |", "| 11.3 (9.4–13.3) |"),
        ("docs/fewer-steps.md", "| 7.0 | 19.7 |", "| 19.7 | 7.0 |"),
        ("docs/limits.md", "some 60 MB", "some 600 MB"),
        ("docs/index.md", "## What it does\n", "## What it does\n\nA fill takes 3 ms.\n"),
        ("docs/cli.md", "## doctor\n", "## doctor\n\n| | time, ms |\n|---|---|\n| a fill | 3 |\n"),
    ],
)
def test_a_changed_or_a_new_number_is_found(page: str, old: str, new: str) -> None:
    text = (figures.ROOT / page).read_text("utf-8")
    assert old in text
    known = Known.read()
    assert list(untraced(page, text, known, set())) == []
    assert list(untraced(page, text.replace(old, new, 1), known, set())) != []


def test_a_number_without_a_page_is_found() -> None:
    known = Known.read()
    known.sections["gpu/run"].values["made up"] = "12.34 s"
    seen: set[figures.Key] = set()
    for path in figures.pages():
        list(untraced(path.relative_to(figures.ROOT).as_posix(), path.read_text("utf-8"), known, seen))
    assert figures.unused(known, seen) == ["gpu/run: made up"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It takes 1,024.5 ms and 8 to 11 s.", ["1,024.5 ms", "8 to 11 s"]),
        ("Right in 7 of the 40, 88.5 / 127 ms (p = 0.01).", ["7 of the 40", "88.5 / 127 ms", "p = 0.01"]),
        ("`--seconds 30 s` is code; an H100 80GB, torch 2.13 and 5 files have no unit.", []),
        ("The median / 95 % of [2 ms](page.md#in-3-s)", ["2 ms"]),
        (
            "fewer by -0.6 points, 589 tokens a second, **5.2 times**",
            ["-0.6 points", "589 tokens a second", "5.2 times"],
        ),
    ],
)
def test_numbers_with_a_unit(text: str, expected: list[str]) -> None:
    assert list(figures.in_prose(text).values()) == expected


def test_the_readme_is_short() -> None:
    assert len((DOCS.parent / "README.md").read_text("utf-8").splitlines()) <= 130
