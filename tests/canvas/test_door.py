"""One browser, by a token that works once and then its cookie; no other page, and no other name for this machine."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from canvas.conftest import Opener, Painter, asked
from palimpsest_canvas.door import Keys

ROUTES = [
    ("GET", "/static/page.js"),
    ("GET", "/static/page.css"),
    ("GET", "/api/state"),
    ("POST", "/api/fill"),
    ("GET", "/api/events"),
    ("GET", "/api/runs/x/events"),
    ("GET", "/api/runs/x/recording"),
    ("GET", "/api/runs/x/replay.html"),
    ("POST", "/api/runs/x/cancel"),
    ("POST", "/api/runs/x/apply"),
    ("GET", "/nothing"),
]
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://example.org"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:8124"},
    {"Origin": "http://localhost:8123"},
    {"Origin": "https://127.0.0.1:8123"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Host": "example.org"},
    {"Host": "127.0.0.1.example.org:8123"},
    {"Host": "localhost.example.org"},
    {"Host": "192.168.0.1:8123"},
    {"Host": ""},
]


def sent(method: str) -> dict[str, Any]:
    return {"json": {}} if method == "POST" else {}


def assert_refused(answer: httpx.Response, status: int = 403) -> None:
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nothing_is_there_without_the_cookie(opener: Opener, method: str, path: str) -> None:
    engine = Painter()
    async with opener.client(engine, cookie=False) as client:
        for headers in ({}, {"cookie": f"{opener.keys.cookie}=guess"}, {"cookie": opener.cookie().upper()}):
            assert_refused(await client.request(method, path, headers=headers, **sent(method)))
    assert not engine.requests


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), *ROUTES])
async def test_other_pages_and_names_are_refused_even_with_the_cookie(opener: Opener, method: str, path: str) -> None:
    async with opener.client(Painter()) as client:
        for headers in FOREIGN:
            assert_refused(await client.request(method, path, headers=headers, **sent(method)))


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_request_that_another_site_began_is_refused(opener: Opener, method: str, path: str) -> None:
    async with opener.client(Painter()) as client:
        for site in ("cross-site", "same-site"):
            assert_refused(await client.request(method, path, headers={"Sec-Fetch-Site": site}, **sent(method)))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_has_to_be_json(opener: Opener, kind: str) -> None:
    engine = Painter()
    async with opener.client(engine) as client:
        answer = await client.post("/api/fill", content=b"{}", headers={"content-type": kind})
    assert_refused(answer, 415)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8123", "localhost:8123", "LOCALHOST:8123", "[::1]:8123", "localhost", "127.0.0.2:1"]
)
async def test_our_own_page_is_let_in(opener: Opener, host: str) -> None:
    async with opener.client(Painter()) as client:
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert (await client.get("/api/state", headers=headers)).status_code == 200
        assert (await client.post("/api/fill", json=asked(), headers=headers)).status_code == 200


async def test_a_token_works_once_and_gives_the_cookie(opener: Opener) -> None:
    async with opener.client(Painter(), cookie=False) as client:
        token = opener.keys.token()
        first = await client.get("/", params={"token": token})
        assert (first.status_code, first.headers["location"]) == (303, "/")
        words = {word.strip() for word in first.headers["set-cookie"].split(";")[1:]}
        assert words >= {"HttpOnly", "SameSite=Strict", "Path=/"}
        assert (await client.get("/")).status_code == 200  # the client has kept the cookie
        assert (await client.get("/api/state")).status_code == 200
        again = await client.get("/", params={"token": token})
        assert (again.status_code, again.headers["location"]) == (303, "/")
        client.cookies.clear()
        again = await client.get("/", params={"token": token})
        assert again.status_code == 403
        assert "set-cookie" not in again.headers
        assert "Open it anew" in again.text


async def test_looking_at_an_address_does_not_use_its_token(opener: Opener) -> None:
    async with opener.client(Painter(), cookie=False) as client:
        token = opener.keys.token()
        assert (await client.head("/", params={"token": token})).status_code == 403
        assert (await client.get("/", params={"token": token})).status_code == 303


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/page.css", "/api/state", "/nothing"])
@pytest.mark.parametrize("cookie", [True, False])
async def test_every_answer_has_the_headers_of_safety(opener: Opener, path: str, cookie: bool) -> None:
    async with opener.client(Painter(), cookie=cookie) as client:
        headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


async def test_an_unforeseen_error_says_nothing_and_has_the_headers(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opener.client(Painter()) as client:
        monkeypatch.setattr(opener.canvas, "state", lambda: 1 / 0)
        answer = await client.get("/api/state")
    assert_refused(answer, 500)
    assert "division" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_websocket_is_closed(opener: Opener) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    app = opener.app(Painter())
    await app({"type": "websocket", "path": "/api/events", "headers": []}, receive, send)
    assert [message["type"] for message in said] == ["websocket.close"]


def test_only_the_newest_tokens_wait_to_be_used() -> None:
    keys = Keys()
    tokens = [keys.token() for _ in range(20)]
    assert [keys.use(token) is not None for token in tokens] == [False] * 4 + [True] * 16
    assert keys.use("") is None
    assert keys.cookie != Keys().cookie
