"""Values that the model never sees: `fixtures/secrets` has lines with secrets, marked, and lines of ordinary code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.context.redact import REDACTED, looks_secret, redacted

LINES = Path(__file__).parents[3] / "fixtures" / "secrets"
SECRET = (LINES / "secret.txt").read_text("utf-8").splitlines()
ORDINARY = (LINES / "ordinary.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("line", SECRET)
def test_a_secret_is_redacted_and_nothing_else(line):
    text = line.replace("«", "").replace("»", "")
    left = re.sub("«[^»]*»", REDACTED, line)
    for before, after in (("", ""), ("x = 1\n", "\ny = 2\n"), ("a: b\r\n", "\r\nc: d")):
        assert redacted(f"{before}{text}{after}") == f"{before}{left}{after}"
    assert redacted(left) == left


@pytest.mark.parametrize("line", ORDINARY)
def test_ordinary_code_stays(line):
    assert redacted(line) == line
    assert redacted(f"x = 1\n{line}\ny = 2\n") == f"x = 1\n{line}\ny = 2\n"


def test_all_lines_together_are_as_each_alone():
    assert redacted("\n".join(ORDINARY)) == "\n".join(ORDINARY)
    text = "\n".join(SECRET).replace("«", "").replace("»", "")
    assert redacted(text) == "\n".join(re.sub("«[^»]*»", REDACTED, line) for line in SECRET)


PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"


def test_a_private_key():
    assert looks_secret(PRIVATE)
    assert looks_secret(PRIVATE.replace("RSA ", "OPENSSH "))
    assert looks_secret(PRIVATE.replace("RSA ", ""))
    assert not looks_secret(PRIVATE.replace("PRIVATE", "PUBLIC"))
    assert redacted(f"a\n{PRIVATE}b\n") == "a\n<redacted>\nb\n"


VALUE = "f3a9" * 8


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key = 'AKIAIOSFODNN7EXAMPLE'", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_" + "aB3" * 12, "ghp_" + "aB3" * 12),
        ("x: xoxb-123456789012-abcdef", "xoxb-123456789012-abcdef"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijkl",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijkl",
        ),
        ("postgres://me:hunter22@db/x", "hunter22"),
        ('password = "correct-horse"', "correct-horse"),
        ("DB_PASSWORD: str = 'hunter22'", "hunter22"),
        ('{"password": "hunter22"}', "hunter22"),
        (f'api_key = "{VALUE}"', VALUE),
        (f"apiKey: '{VALUE}',", VALUE),
        (f'"client-secret" => "{VALUE}"', VALUE),
        (f"export ACCESS_TOKEN={VALUE}\n", VALUE),
        (f"  secret: {VALUE}  \n", VALUE),
        (f'config["secret_key"] = "{VALUE}"', VALUE),
    ],
)
def test_a_value_is_redacted(text, value):
    assert redacted(text) == text.replace(value, REDACTED)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "password = getpass()",
        "password = os.environ['PASSWORD']",
        'password = "${PASSWORD}"',
        "token = next(tokens)",
        "token: SomeLongTypeName2 = None",
        'TOKEN = "access_token"',
        'secret = "the secret of the house"',
        "def login(password: str, token: str) -> None: ...",
        f"sha256: {VALUE}",
        f'digest = "{VALUE}"',
        "https://example.org/a:b@c",
        "tokens = tokenizer.encode(text)",
    ],
)
def test_a_text_without_a_secret_stays(text):
    assert redacted(text) == text


def test_this_repositorys_code_has_no_secrets():
    """Raise no false alarm in the code of this project."""
    root = Path(__file__).parents[3]
    for path in sorted([*root.glob("engine/**/*.py"), *root.glob("server/**/*.py")]):
        text = path.read_text("utf-8")
        if path.name != "redact.py":
            assert redacted(text) == text, path
        assert not looks_secret(text)


@given(
    st.lists(
        st.sampled_from([*"=:'\"\n ", "password", "token", "api_key", VALUE, "a", "://", "@", "eyJ", PRIVATE]),
        max_size=30,
    )
)
def test_redacting_twice_is_redacting_once(parts):
    once = redacted("".join(parts))
    assert redacted(once) == once
    assert not looks_secret(once)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a.",
            "password",
            "password=",
            'password="',
            "password='\\",
            "eyJ",
            "-eyJ",
            "eyJa.",
            "://a",
            "://a:b",
            "://:",
            "M.",
        ),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "token: a ",
            "_-",
            "Bearer ",
            "authorization: ",
            "AccountKey=",
            ";password=",
            "sig=",
        ),
        *(
            "<password>",
            "://hooks.slack.com/services/",
            "12345678:AA",
            "key-",
            "SG.",
            "secret-",
            "passwordHint",
            "[",
            " ",
        ),
    ],
)
def test_long_lines_end_soon(piece):
    """Quadratic work over a million characters would take minutes; `-eyJ` took 7 s for a tenth of that."""
    text = piece * (1_000_000 // len(piece))
    assert len(re.sub(REDACTED, "", redacted(text))) <= len(text)
