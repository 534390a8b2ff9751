"""Languages by what the editor calls them and by names of files; models are held to theirs."""

import pytest

from palimpsest_engine.syntax.language_ids import language_id, untrained


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        ("python", None, "python"),
        ("Python", None, "python"),
        (" PY ", None, "python"),
        ("python", "a.js", "python"),
        ("python-base", "tool/a.py", "python"),
        ("MagicPython", "a.pyi", "python"),
        ("", "a.py", "python"),
        ("", "SConstruct", "python"),
        ("", "notes", ""),
        ("", None, ""),
        ("Klingon", None, "klingon"),
        ("Klingon", "a.tlh", "klingon"),
        ("C++", None, "cpp"),
        ("typescriptreact", "a.js", "typescriptreact"),
        ("JSONC", None, "jsonc"),
        ("shellscript", None, "shellscript"),
        ("plaintext", "a.py", "plaintext"),
        ("helm", "values.yaml", "helm"),
        ("jinja-sql", "a.sql", "jinja-sql"),
        ("django-html", "a.html", "django-html"),
        ("objective-c", "a.h", "objective-c"),
    ],
)
def test_a_known_name_decides_and_then_the_name_of_the_file(given, path, expected):
    assert language_id(given, path) == expected


@pytest.mark.parametrize(
    ("languages", "language", "path", "called", "what"),
    [
        ((), "rust", "a.rs", "rust", ""),
        (("python",), "python", None, "Python", ""),
        (("python",), None, "a.pyi", None, ""),
        (("python",), None, None, None, ""),
        (("javascript",), "javascriptreact", None, "javascriptreact", ""),
        (("tsx",), "typescriptreact", None, "typescriptreact", ""),
        (("python",), None, "a.js", None, "is javascript by the name of its file"),
        (("python",), "javascript", "a.js", None, "is javascript"),
        (("python",), "javascript", "a.js", "", "is javascript by the name of its file"),
        (("python",), "javascript", "a.js", "js", "is javascript, which the editor calls 'js'"),
        (("python",), None, "notes", None, "is in no language that its name tells"),
    ],
)
def test_a_model_is_not_asked_about_other_languages(languages, language, path, called, what):
    reason = f"the checkpoint m was trained on python only; this document {what}" if what else ""
    assert untrained("m", languages, language, path, called) == reason
