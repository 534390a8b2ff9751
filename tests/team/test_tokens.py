"""The file of tokens: what is in it, who can read it, and that running servers see each change."""

import json
import os
import threading

import pytest

from palimpsest_engine import PalimpsestError
from palimpsest_team import tokens
from palimpsest_team.tokens import Tokens, TokensUnreadable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "team" / "tokens.json"


def test_a_token_lets_its_user_in_and_the_file_does_not_hold_it(path):
    token = tokens.add(path, "ann")
    assert Tokens(path).user_of(token) == "ann"
    assert token not in path.read_text()
    assert len(token) >= 43  # 256 bits


@pytest.mark.parametrize("wrong", ["", "pal_", "ann", "pal_" + "A" * 43, "\ud800", "x" * 100_000])
def test_other_tokens_let_nobody_in(path, wrong):
    tokens.add(path, "ann")
    assert Tokens(path).user_of(wrong) is None


def test_the_digest_in_the_file_is_no_token(path):
    tokens.add(path, "ann")
    assert Tokens(path).user_of(json.loads(path.read_text())["tokens"][0]["sha256"]) is None


def test_the_file_is_its_owners_alone(path):
    tokens.add(path, "ann")
    tokens.add(path, "bob")
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["tokens.json"]


def test_a_running_server_sees_who_comes_and_who_goes(path):
    first = tokens.add(path, "ann")
    running = Tokens(path)
    assert running.user_of(first) == "ann"
    second = tokens.add(path, "bob")
    assert running.user_of(second) == "bob"
    assert tokens.revoke(path, "ann") == 1
    assert running.user_of(first) is None
    assert running.user_of(second) == "bob"


def test_all_tokens_of_a_user_are_revoked_or_one_by_its_id(path):
    kept, gone = tokens.add(path, "ann"), tokens.add(path, "ann")
    assert tokens.revoke(path, tokens.read(path)[1].id) == 1
    assert (Tokens(path).user_of(kept), Tokens(path).user_of(gone)) == ("ann", None)
    tokens.add(path, "ann")
    assert tokens.revoke(path, "ann") == 2
    assert tokens.revoke(path, "ann") == 0


@pytest.mark.parametrize("user", ["", " ann", "ann bob", "a\nb", "../ann", "x" * 65, "ann\x1b[31m", "änn"])
def test_a_name_that_a_log_or_a_terminal_might_misread_is_refused(path, user):
    with pytest.raises(PalimpsestError):
        tokens.add(path, user)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"version": 2, "tokens": []}',
        b'{"version": 1, "tokens": [{"user": "ann"}]}',
        b"[" * 9_999,
    ],
)
def test_a_broken_file_lets_nobody_in_and_is_named(path, content):
    token = tokens.add(path, "ann")
    running = Tokens(path)
    assert running.user_of(token)
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(TokensUnreadable, match=r"tokens\.json"):
            running.user_of(token)


def test_a_file_that_is_gone_lets_nobody_in_and_one_that_comes_back_does(path):
    token = tokens.add(path, "ann")
    running = Tokens(path)
    assert running.user_of(token)
    aside = path.rename(path.with_suffix(".aside"))
    with pytest.raises(TokensUnreadable):
        running.user_of(token)
    aside.rename(path)
    assert running.user_of(token) == "ann"


@pytest.mark.parametrize("mode", [0o604, 0o606, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused(path, mode):
    tokens.add(path, "ann")
    path.chmod(mode)
    with pytest.raises(TokensUnreadable, match="chmod 600"):
        tokens.read(path)


def test_a_folder_in_place_of_the_file_is_refused(path):
    path.mkdir(parents=True)
    with pytest.raises(TokensUnreadable):
        tokens.read(path)


def test_two_who_add_tokens_at_a_time_lose_none(path):
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda name=name: made.append(tokens.add(path, name)))
        for name in ("ann", "bob", "cyd", "dan", "eve", "fay")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running = Tokens(path)
    assert sorted(running.user_of(token) for token in made) == ["ann", "bob", "cyd", "dan", "eve", "fay"]
