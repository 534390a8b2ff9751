"""Arguments: what parameters mean for calls, and an argument for the definition; what `async` and `await` mean for both."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import Change, FollowUps, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.arguments import arguments
from palimpsest_engine.syntax.next_edit.awaits import awaits
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups

EDITS = [
    (
        "python",
        "def f(b, a): ...\n\n\nx = f(1,  g(2))\n",
        "def f(a, b): ...\n",
        "def f(b, a): ...\n",
        ("f(1,  g(2))", "f(g(2),  1)"),
        "sure",
    ),
    (
        "c",
        "int f(int b, int *a);\nint g(void) { return f(p, 2); }\n",
        "int f(int *a, int b);\n",
        "int f(int b, int *a);\n",
        ("f(p, 2)", "f(2, p)"),
        "sure",
    ),
    (
        "c",
        "int f(int b, int *a) { return b; }\nint g(void) { return f(p, 2); }\n",
        "int f(int *a, int b) { return b; }\n",
        "int f(int b, int *a) { return b; }\n",
        ("f(p, 2)", "f(2, p)"),
        "sure",
    ),
    (
        "java",
        "record P(int y, int x) {}\nclass B { P b = new P(1, 2); }\n",
        "record P(int x, int y) {}\n",
        "record P(int y, int x) {}\n",
        ("new P(1, 2)", "new P(2, 1)"),
        "sure",
    ),
    (
        "typescript",
        "class A {\n  constructor(b: B, a: A) {}\n}\nnew A(x, y);\n",
        "  constructor(a: A, b: B) {}\n",
        "  constructor(b: B, a: A) {}\n",
        ("new A(x, y)", "new A(y, x)"),
        "sure",
    ),
    (
        "go",
        "package a\n\nfunc f(b, a int) {}\n\nfunc g() { f(1, 2) }\n",
        "func f(a, b int) {}\n",
        "func f(b, a int) {}\n",
        ("f(1, 2)", "f(2, 1)"),
        "sure",
    ),
    (
        "rust",
        "impl A {\n    fn f(&self, a: u8) {}\n    fn g(&self) { self.f(1, 2); }\n}\n",
        "    fn f(&self, a: u8, b: u8) {}\n",
        "    fn f(&self, a: u8) {}\n",
        ("self.f(1, 2)", "self.f(1)"),
        "sure",
    ),
    (
        "python",
        "class C:\n    def f(self): ...\n\n\nC().f(b=2)\n",
        "    def f(self, b=1): ...\n",
        "    def f(self): ...\n",
        ("f(b=2)", "f()"),
        "likely",
    ),
    (
        "go",
        "package a\n\nfunc f(ctx C, a int) {}\n\nfunc g(ctx C) { f(1) }\n",
        "func f(a int) {}\n",
        "func f(ctx C, a int) {}\n",
        ("f(1)", "f(ctx, 1)"),
        "likely",
    ),
    (
        "python",
        "def f(a, ctx): ...\n\n\ndef g(ctx):\n    f(a=1)\n",
        "def f(a): ...\n",
        "def f(a, ctx): ...\n",
        ("f(a=1)", "f(a=1, ctx=ctx)"),
        "likely",
    ),
    (
        "python",
        "def f(a): ...\n\n\nx = f(1, limit=2)\n",
        "x = f(1)\n",
        "x = f(1, limit=2)\n",
        ("def f(a)", "def f(a, limit)"),
        "likely",
    ),
    (
        "python",
        "async def f(): ...\n\n\nasync def g():\n    return f().a\n",
        "def f(): ...\n",
        "async def f(): ...\n",
        ("f().a", "(await f()).a"),
        "likely",
    ),
    (
        "python",
        "async def f(): ...\n\n\ndef g():\n    return f().a\n",
        "def f(): ...\n",
        "async def f(): ...\n",
        ("def g()", "async def g()"),
        "likely",
    ),
    (
        "typescript",
        "async function f() {}\nasync function g() {\n  f();\n}\n",
        "function f() {}\n",
        "async function f() {}\n",
        ("  f();", "  await f();"),
        "likely",
    ),
    (
        "python",
        "def g():\n    await f()\n",
        "    f()\n",
        "    await f()\n",
        ("def g()", "async def g()"),
        "sure",
    ),
    (
        "javascript",
        "class A {\n  static g() {\n    await f();\n  }\n}\n",
        "    f();\n",
        "    await f();\n",
        ("static g()", "static async g()"),
        "sure",
    ),
    (
        "python",
        "def f(a, b=1): ...\n\n\nf(2)\n",
        "def f(a): ...\n",
        "def f(a, b=1): ...\n",
        None,
        "",
    ),
    (
        "python",
        "def f(b, a): ...\n\n\nf(a=1, b=2)\n",
        "def f(a, b): ...\n",
        "def f(b, a): ...\n",
        None,
        "",
    ),
    (
        "python",
        "def f(b, a): ...\n\n\nf(*c)\n",
        "def f(a, b): ...\n",
        "def f(b, a): ...\n",
        None,
        "",
    ),
    (
        "python",
        "def f(b, a): ...\n\n\nx.f(1, 2)\n",
        "def f(a, b): ...\n",
        "def f(b, a): ...\n",
        None,
        "",
    ),
    (
        "python",
        "def f(c, b): ...\n\n\nf(1, 2)\n",
        "def f(a, b): ...\n",
        "def f(c, b): ...\n",
        None,
        "",
    ),
    (
        "java",
        "class A {\n  void f(int b, int a) {}\n  void f(int a) {}\n  void g() { f(1, 2); }\n}\n",
        "  void f(int a, int b) {}\n",
        "  void f(int b, int a) {}\n",
        None,
        "",
    ),
    (
        "python",
        "def f(a, **k): ...\n\n\nx = f(1, limit=2)\n",
        "x = f(1)\n",
        "x = f(1, limit=2)\n",
        None,
        "",
    ),
    (
        "typescript",
        "async function f() {}\nasync function g() {\n  await all([f()]);\n  f().then(h);\n}\n",
        "function f() {}\n",
        "async function f() {}\n",
        None,
        "",
    ),
    (
        "python",
        "async def g():\n    await f()\n",
        "    f()\n",
        "    await f()\n",
        None,
        "",
    ),
    (
        "go",
        "package a\n\nfunc f(a int) {}\n\nfunc g() { f(1, 2) }\n",
        "func f(a int, b int) {}\n",
        "func f(a int) {}\n",
        ("f(1, 2)", "f(1)"),
        "sure",
    ),
]


def asked(language: str, text: str, before: str, after: str, *others: OpenDocument) -> FollowUps:
    start = text.index(after)
    documents = (OpenDocument("a", text, language), *others)
    question = NextEditQuestion(documents, (Change("a", start, before, after),), start + len(after), budget_ms=60_000)
    return follow_ups(question, (arguments, awaits))


@pytest.mark.parametrize(("language", "text", "before", "after", "due", "certainty"), EDITS)
def test_calls_and_definitions_agree_again(
    language: str, text: str, before: str, after: str, due: tuple[str, str] | None, certainty: str
) -> None:
    edits = asked(language, text, before, after).edits
    if due is None:
        assert not edits
        return
    (edit,) = edits
    assert text[: edit.span.start] + edit.text + text[edit.span.end :] == due[1].join(text.rsplit(due[0], 1))
    assert edit.certainty == certainty


def test_an_argument_that_nobody_can_know_is_a_place() -> None:
    text = "fn f(a: u8, b: u8) {}\nfn g() { f(1); }\n"
    found = asked("rust", text, "fn f(a: u8) {}\n", "fn f(a: u8, b: u8) {}\n")
    assert [text[each.span.start : each.span.end] for each in found.places] == ["f(1)"]
    assert not found.edits


@pytest.mark.parametrize(
    ("other", "is_changed"),
    [
        pytest.param("from a import f\n\nf(1, 2)\n", True, id="imported"),
        pytest.param("def f(x, y): ...\n\n\nf(1, 2)\n", False, id="another function"),
        pytest.param("f(1, 2)\n", False, id="from nowhere"),
    ],
)
def test_calls_in_other_documents_are_changed_if_they_mean_the_same(other: str, is_changed: bool) -> None:
    text = "def f(b, a): ...\n"
    found = asked("python", text, "def f(a, b): ...\n", text, OpenDocument("b", other, "python"))
    assert [each.document for each in found.edits] == ["b"] * is_changed
