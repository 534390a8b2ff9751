"""Plain English, checked by machine: how docstrings and test names begin, and phrases that have to be read twice.

To ban a phrase, add it to `PHRASES` with the better form.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("engine", "server", "tests")
# Here a function's docstring also has to begin with a verb.
VERB_ROOMS = ("engine", "server")
PAGES = (
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *(page for folder in ("docs", "docs/adr", "editors/*") for page in sorted(ROOT.glob(f"{folder}/*.md"))),
)

RIDDLES = {"How", "What", "Whatever", "When", "Where", "Whether", "Which", "Who", "Whoever", "Whose", "Why"}
NOUNS = {
    *(
        "A",
        "All",
        "An",
        "Any",
        "As",
        "At",
        "Both",
        "By",
        "Each",
        "Every",
        "Everything",
        "For",
        "From",
        "In",
        "It",
        "Its",
    ),
    *("None", "Nothing", "Of", "On", "One", "Or", "Raises", "Returns", "So", "Some", "That", "The", "Their", "There"),
    *("These", "They", "This", "Those", "Until", "With", "Within", "Without"),
}
PHRASES = {
    r"as far as (that|this) goes": "say what was done, and with what",
    r"what is told to whom": "name the message and its receiver",
    r"(?<!\buser\s)who(ever)? (looks|asks|gets|wants|types|accepts|gives)\b": "'a user who …', or name the subject",
    r"for what is neither": "name the thing",
    r"(somebody|nobody|anybody|everybody) (is asked|pays|looks|takes)\b": "say who does it, or what happens",
    r"(to|cannot|not) be had\b": "'is available', 'is not available'",
    r"what else there is": "'the alternatives'",
    r"what (comes|came|becomes|became) of (it|that|them)\b": "'the result', 'the results'",
    r"(comes|came) to nothing": "'gives no fill', 'fails'",
    r"\bgives? (out|way)\b": "'fails', 'yields'",
    r"\bin the midst of\b": "'in the middle of'",
    r"\bby turns\b": "'in turns'",
    r"\bin the mean\b": "'on average'",
    r"\bat once or not at all\b": "'atomically'",
    r"\bin the place of\b": "'instead of', 'replace'",
    r"\bmind that\b": "'note that'",
    r"\blet(s|ting)? go of\b": "'free', 'drop'",
    r"\ball that (comes|there is|can)\b": "'everything that …', or name the things",
    r"\bthe very (text|same|place|command|weights)\b": "'exactly the …'",
    r"\bwhat .{1,30} is worth\b": "'the quality of …'",
    r"\b(fills|it) (is|are) worth\b": "'the quality of the fills'",
    r"\bgoes? on (where it was|from there|to the same|with the same)\b": "'resumes', 'continues'",
    r"\bno more came\b": "say how many more",
    r"\bless keeps\b": "say the number that is kept",
    r"\bwho (is|was) to\b": "'the user who has to …'",
    r"\bsaid so\b|\band that is said\b|\bwhich is said\b": "'reported', 'and says so'",
    r"\bas it comes\b|\bas they come\b": "'unchanged', 'with the defaults'",
    r"\b(does|do|would) no harm\b": "'is ignored', 'is harmless'",
    r"\bcosts? the others nothing\b|\bmust not cost the others\b": "'the others go on'",
}


def _files(rooms: tuple[str, ...], pattern: str = "*.py") -> list[Path]:
    found = sorted(path for room in rooms for path in (ROOT / room).rglob(pattern))
    assert found, f"there is nothing to check in {rooms}"
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _docstrings(path: Path) -> Iterator[tuple[int, ast.AST, str]]:
    """Yield the line, the node and the text of each docstring."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, node, text


def _fail_if_any(faults: list[str]) -> None:
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@pytest.mark.parametrize("path", _files(ROOMS), ids=_name)
def test_docstrings_begin_with_no_riddle(path: Path) -> None:
    _fail_if_any(
        [
            f"{_name(path)}:{line}: a docstring begins with {first!r}; begin with an imperative verb or a noun"
            for line, _, text in _docstrings(path)
            if (first := text.split(maxsplit=1)[0]) in RIDDLES
        ]
    )


@pytest.mark.parametrize("path", _files(VERB_ROOMS), ids=_name)
def test_docstrings_of_functions_begin_with_a_verb(path: Path) -> None:
    _fail_if_any(
        [
            f"{_name(path)}:{line}: the docstring of {node.name} begins with {first!r}; begin with an imperative verb"
            for line, node, text in _docstrings(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (first := text.split(maxsplit=1)[0]) in NOUNS
        ]
    )


@pytest.mark.parametrize("path", [path for path in _files(ROOMS) if path.name.startswith("test_")], ids=_name)
def test_names_of_tests_say_what_is_asserted(path: Path) -> None:
    _fail_if_any(
        [
            f"{_name(path)}:{node.lineno}: {node.name} begins with {first!r}; name the subject, then what is asserted"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and (first := node.name.split("_")[1]) in {*(word.lower() for word in RIDDLES), "of", "wherever"}
        ]
    )


@pytest.mark.parametrize("path", [path for path in (*_files(ROOMS), *PAGES) if path != Path(__file__)], ids=_name)
def test_no_phrase_has_to_be_read_twice(path: Path) -> None:
    text = path.read_text("utf-8")
    faults = []
    for phrase, better in PHRASES.items():
        # A space in a phrase also matches a line break and what begins the next line of a comment.
        for match in re.finditer(phrase.replace(" ", r"(?: |\s*\n\s*(?:# |- )?\s*)"), text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            faults.append(f"{_name(path)}:{line}: {' '.join(match[0].split())!r}; better: {better}")
    _fail_if_any(faults)
