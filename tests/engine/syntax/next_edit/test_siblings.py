"""Siblings: the same change at places of the same shape, and silence where one example says nothing."""

from dataclasses import dataclass

import pytest

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.siblings import siblings


@dataclass(frozen=True)
class Case:
    """A text, changes of lines in it (the newest first), and the lines that have to become others, with their certainty."""

    id: str
    language: str
    text: str
    changes: tuple[tuple[str, str], ...]
    due: tuple[tuple[str, str], ...] = ()
    certainty: str = "likely"


LOUD = [
    Case(
        "a call by another name in alike lines",
        "python",
        "a = fmt(x)\nb = format(y)\nc = format(z)\n",
        (("a = format(x)\n", "a = fmt(x)\n"),),
        (("b = format(y)", "b = fmt(y)"), ("c = format(z)", "c = fmt(z)")),
    ),
    Case(
        "names are carried over by their words",
        "python",
        "a_total = sum(a_items, a_start)\nb_total = sum(b_items)\nc_total = sum(c_items)\n",
        (("a_total = sum(a_items)\n", "a_total = sum(a_items, a_start)\n"),),
        (("b_total = sum(b_items)", "b_total = sum(b_items, b_start)"), ("sum(c_items)", "sum(c_items, c_start)")),
    ),
    Case(
        "the blank before what replaces a bracket",
        "python",
        "x = a + 1\ny = wrap(b)\nz = wrap(c)\n",
        (("x = wrap(a)\n", "x = a + 1\n"),),
        (("y = wrap(b)", "y = b + 1"), ("z = wrap(c)", "z = c + 1")),
    ),
    Case(
        "wrapped values of a dictionary",
        "python",
        'd = {\n    "a": int(row["a"]),\n    "b":  row["b"],\n    "c": row["c"],\n}\n',
        (('    "a": row["a"],\n', '    "a": int(row["a"]),\n'),),
        (('"b":  row["b"],', '"b":  int(row["b"]),'), ('"c": row["c"],', '"c": int(row["c"]),')),
    ),
    Case(
        "an argument more in alike lines",
        "go",
        'package a\n\nfunc f() {\n\ta := get("a", 1)\n\tb := get("b")\n\tc := get("c")\n}\n',
        (('\ta := get("a")\n', '\ta := get("a", 1)\n'),),
        (('b := get("b")', 'b := get("b", 1)'), ('c := get("c")', 'c := get("c", 1)')),
    ),
    Case(
        "a token less",
        "c",
        "int f(void) {\n  take(A, name_a);\n  take(B, name_b, 0);\n  take(C, name_c, 0);\n}\n",
        (("  take(A, name_a, 0);\n", "  take(A, name_a);\n"),),
        (("take(B, name_b, 0);", "take(B, name_b);"), ("take(C, name_c, 0);", "take(C, name_c);")),
    ),
    Case(
        "one derive is a weak sign",
        "rust",
        "#[derive(Debug, Serialize)]\nenum A {\n    X,\n}\n\n#[derive(Debug)]\nenum B {\n    Y,\n}\n",
        (("#[derive(Debug)]\n", "#[derive(Debug, Serialize)]\n"),),
        (("#[derive(Debug)]", "#[derive(Debug, Serialize)]"),),
        "possible",
    ),
    Case(
        "a decorator that was put before two classes of another document",
        "typescript",
        "export class C {\n  f() {}\n}\n",
        (("export class A {\n", "@old\nexport class A {\n"), ("export class B {\n", "@old\nexport class B {\n")),
        (("export class C {", "@old\nexport class C {"),),
    ),
    Case(
        "a field of a row, twice",
        "c",
        'struct s t[] = {\n  {.n = "a", 1},\n  {.n = "b", 2},\n  {"c", 3},\n};\n',
        (('  {"b", 2},\n', '  {.n = "b", 2},\n'), ('  {"a", 1},\n', '  {.n = "a", 1},\n')),
        (('{"c", 3}', '{.n = "c", 3}'),),
    ),
    Case(
        "members of a class",
        "java",
        "class A {\n  private final Long x;\n  private Long y;\n  private Long z;\n}\n",
        (("  private Long x;\n", "  private final Long x;\n"),),
        (("private Long y;", "private final Long y;"), ("private Long z;", "private final Long z;")),
    ),
    Case(
        "arms of a match",
        "rust",
        "fn f(x: K) -> T {\n    match x {\n        K::A => keep(a),\n"
        "        K::B => load(b),\n        K::C => load(c),\n    }\n}\n",
        (("        K::A => load(a),\n", "        K::A => keep(a),\n"),),
        (("K::B => load(b),", "K::B => keep(b),"), ("K::C => load(c),", "K::C => keep(c),")),
    ),
]

QUIET = [
    Case("a number", "python", "add(2)\nadd(1)\nadd(1)\n", (("add(1)\n", "add(2)\n"),)),
    Case(
        "a message", "go", 'package a\n\nvar a = e("b")\nvar c = e("a")\n', (('var a = e("a")\n', 'var a = e("b")\n'),)
    ),
    Case("an annotation of its own", "python", "x: int = 1\ny = 2\nz = 3\n", (("x = 1\n", "x: int = 1\n"),)),
    Case(
        "a parameter more",
        "python",
        "def f(a, b):\n    return a\n\n\ndef g(a):\n    return a\n\n\ndef h(a):\n    return a\n",
        (("def f(a):\n", "def f(a, b):\n"),),
    ),
    Case(
        "one method becomes async",
        "typescript",
        "class A {\n  async f() {}\n  g() {}\n  h() {}\n}\n",
        (("  f() {}\n", "  async f() {}\n"),),
    ),
    Case(
        "another return",
        "python",
        "def f():\n    return []\n\n\ndef g():\n    return None\n\n\ndef h():\n    return None\n",
        (("    return None\n", "    return []\n"),),
    ),
    Case("a new statement", "rust", "fn f() {\n    b();\n    a();\n    a();\n}\n", (("", "    b();\n"),)),
    Case("a word in a comment", "c", "// new a\nint a;\n// old a\nint b;\n", (("// old a\n", "// new a\n"),)),
    Case(
        "a decorator, once",
        "python",
        "@one\nclass A:\n    pass\n\n\nclass B:\n    pass\n",
        (("class A:\n", "@one\nclass A:\n"),),
    ),
    Case("another name", "java", "class A {\n  int a;\n  int y;\n  int z;\n}\n", (("  int x;\n", "  int a;\n"),)),
    Case(
        "only white space", "go", "package a\n\nvar  a = f(1)\nvar b = f(1)\n", (("var a = f(1)\n", "var  a = f(1)\n"),)
    ),
    Case(
        "a keyword that was half typed",
        "python",
        "for n in ns:\n    if n is None:\n        m = n\n    else-\n        m = max(m, n)\n",
        (("", "    else-\n"),),
    ),
]


def question_of(case: Case) -> NextEditQuestion:
    changes = []
    for before, after in case.changes:
        start = case.text.find(after)
        changes.append(Change("a", start if start >= 0 else None, before, after))
    cursor = len(changes[0].after) + (changes[0].start or 0) if changes[0].start is not None else 0
    return NextEditQuestion((OpenDocument("a", case.text, case.language),), tuple(changes), cursor, budget_ms=60_000)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in LOUD + QUIET])
def test_the_same_change_is_due_at_places_of_the_same_shape(case: Case) -> None:
    edits = follow_ups(question_of(case), (siblings,)).edits
    expected = case.text
    for old, new in case.due:
        head, sign, tail = expected.rpartition(old)
        assert sign
        expected = head + new + tail
    text = case.text
    for edit in sorted(edits, key=lambda each: -each.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    assert text == expected
    assert {edit.certainty for edit in edits} <= {case.certainty}
    assert len(edits) == len(case.due)


def change_of(text: str, before: str, after: str) -> Change:
    start = text.find(after)
    assert start >= 0
    return Change("a", start, before, after)


def asked(text: str, language: str, *changes: tuple[str, str]) -> dict[str, str]:
    """Return the lines that are offered, as they would be then, with their certainty."""
    made = tuple(change_of(text, *each) for each in changes)
    question = NextEditQuestion((OpenDocument("a", text, language),), made, made[0].start or 0, budget_ms=60_000)
    found = {}
    for edit in follow_ups(question, (siblings,)).edits:
        after = text[: edit.span.start] + edit.text + text[edit.span.end :]
        start = after.rfind("\n", 0, edit.span.start) + 1
        found[after[start : after.find("\n", edit.span.start + len(edit.text))].strip()] = edit.certainty
    return found


def test_a_change_made_twice_is_due_where_all_is_that_both_have_in_common() -> None:
    text = "show: bool | str = 1\nx()\nshow: bool | str = 2\nx()\nshow: bool = 3\nx()\nerr: bool = 4\n"
    found = asked(
        text,
        "python",
        ("show: bool = 2\n", "show: bool | str = 2\n"),
        ("show: bool = 1\n", "show: bool | str = 1\n"),
    )
    assert found == {"show: bool | str = 3": "likely", "err: bool | str = 4": "possible"}


def test_a_place_that_was_passed_over_makes_a_guess_of_all() -> None:
    text = "use(conf.a, x)\nf()\nuse(args.a, y)\nf()\nuse(conf.a, z)\nf()\nuse(args.a, w)\n"
    found = asked(text, "python", ("use(args.a, z)\n", "use(conf.a, z)\n"), ("use(args.a, x)\n", "use(conf.a, x)\n"))
    assert found == {"use(conf.a, y)": "possible", "use(conf.a, w)": "possible"}


def test_a_text_that_became_two_others_is_a_guess() -> None:
    text = 'package a\n\nfunc f() {\n\tis("day", a.Kind(), 1)\n\tg()\n\tis("day", a.Kind(), 2)\n\tg()\n'
    text += '\tis("hour", a.Kind(), 3)\n\tg()\n\tis("text", a.Kind(), 4)\n}\n'
    before = [f'\tis("text", a.Kind(), {n})\n' for n in range(5)]
    found = asked(
        text,
        "go",
        (before[3], '\tis("hour", a.Kind(), 3)\n'),
        (before[2], '\tis("day", a.Kind(), 2)\n'),
        (before[1], '\tis("day", a.Kind(), 1)\n'),
    )
    assert set(found.values()) <= {"possible"}


def test_a_parameter_more_stays_a_guess() -> None:
    text = "def one(run, tmp):\n    run()\n\n\ndef two(run, tmp):\n    run()\n\n\ndef six(run):\n    run()\n"
    found = asked(
        text, "python", ("def two(run):\n", "def two(run, tmp):\n"), ("def one(run):\n", "def one(run, tmp):\n")
    )
    assert set(found.values()) <= {"possible"}


def test_a_local_name_is_carried_only_to_where_it_is_defined() -> None:
    text = "def f():\n    use(PORT, 1)\n\n\ndef g(port):\n    use(port, 2)\n    h()\n    use(port, 3)\n    h()\n"
    text += "    use(PORT, 4)\n"
    found = asked(
        text,
        "python",
        ("    use(PORT, 3)\n", "    use(port, 3)\n"),
        ("    use(PORT, 2)\n", "    use(port, 2)\n"),
    )
    assert found == {"use(port, 4)": "likely"}


def test_the_rest_of_a_member_has_to_be_a_variable_there() -> None:
    text = "def f(self):\n    use(self.port, 1)\n\n\ndef g(self, port):\n    use(port, 2)\n    h()\n    use(port, 3)\n"
    text += "    h()\n    use(self.port, 4)\n"
    found = asked(
        text,
        "python",
        ("    use(self.port, 3)\n", "    use(port, 3)\n"),
        ("    use(self.port, 2)\n", "    use(port, 2)\n"),
    )
    assert found == {"use(port, 4)": "likely"}


def test_a_name_is_not_torn_from_words_that_stand_for_others() -> None:
    text = "if isNumber(s.minimum) and not s.exclusiveMinimum:\n    a()\n\nif isNumber(s.maximum) and not s.exclusiveMaximum:"
    text += "\n    b()\n\nif isNumber(s.multipleOf):\n    c()\n"
    found = asked(
        text,
        "python",
        ("if isNumber(s.maximum):\n", "if isNumber(s.maximum) and not s.exclusiveMaximum:\n"),
        ("if isNumber(s.minimum):\n", "if isNumber(s.minimum) and not s.exclusiveMinimum:\n"),
    )
    assert not any("multipleOf" in line and "exclusive" in line for line in found)


def test_the_text_between_escapes_of_a_string_is_not_lost() -> None:
    text = 'add("--B\\r\\nName: one")\nf()\nadd("--B\\r\\nName: two")\nf()\nadd("B\\r\\nName: six")\n'
    found = asked(
        text,
        "python",
        ('add("B\\r\\nName: two")\n', 'add("--B\\r\\nName: two")\n'),
        ('add("B\\r\\nName: one")\n', 'add("--B\\r\\nName: one")\n'),
    )
    assert all("Name: six" in line for line in found)
