"""Recorded answers of Qwen2.5-Coder 0.5B Instruct to the cases become replacements, and nothing else of them does.

Most were begun with a fence and end at one; the first ones were not begun, and say more than code.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from palimpsest_engine.fill.answering import conversation_of, fitted
from palimpsest_eval.instruct.cases import read
from palimpsest_eval.instruct.measuring import untidy

FOLDER = Path(__file__).parents[3] / "fixtures" / "instruct"
CASES = {(case.language, case.name): case for file in FOLDER.glob("*.toml") for case in read(file)}
ANSWERS = [json.loads(line) for line in (FOLDER / "answers.jsonl").read_text("utf-8").splitlines()]


def fitted_of(row, answer):
    request = CASES[row["language"], row["name"]].request()
    return fitted(request, conversation_of(request), answer)


def test_no_replacement_has_a_fence_a_remark_or_the_lines_around():
    assert len(ANSWERS) > 140
    for row in ANSWERS:
        case, text = CASES[row["language"], row["name"]], fitted_of(row, row["answer"])
        assert text.strip()
        assert not untidy(case, text), (row["name"], text)
        assert case.request().splice((text,)) == case.before + text + case.after


def test_every_line_of_code_in_an_answer_that_says_more_is_kept():
    kinds = Counter[bool]()
    for row in ANSWERS:
        before, fence, rest = row["answer"].partition(f"```{row['language']}\n")
        kinds[bool(fence and before)] += 1
        if fence:
            before = CASES[row["language"], row["name"]].before
            code = [line.strip() for line in rest.partition("\n```")[0].split("\n") if line.strip() not in before]
            lines = [line.strip() for line in fitted_of(row, row["answer"]).split("\n")]
            assert [line for line in lines if line not in before] == code
    assert kinds[True] >= 3


def test_an_answer_reads_the_same_with_other_line_ends_and_with_a_remark_in_front():
    for row in ANSWERS:
        text = fitted_of(row, row["answer"])
        assert fitted_of(row, row["answer"].replace("\n", "\r\n")) == text
        if "```" not in row["answer"].split("\n")[0] and not row["answer"].startswith(("Certainly", "To rewrite")):
            assert fitted_of(row, f"Here is the code:\n\n```{row['language']}\n{row['answer']}") == text
