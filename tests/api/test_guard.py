"""No page in a browser, no other name for this machine, nobody without the token."""

from __future__ import annotations

import pytest

from api.conftest import Client, Recording, infill
from palimpsest_api.guard import holders_of

ROUTES = [
    ("POST", "/infill"),
    ("POST", "/completion"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/fill"),
    ("GET", "/v1/models"),
    ("GET", "/props"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/nothing"),
]
SECRET = "a-token-of-twenty-signs"


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "example.org"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "localhost.example.org:8012"},
        {"Host": "[::1].example.org"},
        {"Host": "192.168.0.1"},
        {"Host": ""},
    ],
    ids=str,
)
async def test_pages_and_strange_names_get_a_403_everywhere(
    client: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    engine = Recording()
    answer = await client(engine).request(method, path, headers=headers, json=infill(prompt=""))
    assert (answer.status_code, engine.requests) == (403, [])
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/infill", "/v1/fill"])
async def test_a_preflight_gets_a_403(client: Client, path: str) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer = await client(Recording()).options(path, headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8012", "127.1.2.3", "localhost", "LOCALHOST:1", "[::1]", "[::1]:80", "gpu.lan:443"]
)
async def test_names_of_this_machine_are_let_in_and_those_that_were_allowed(client: Client, host: str) -> None:
    answer = await client(Recording(), hosts=("gpu.lan",)).get("/health", headers={"Host": host})
    assert answer.status_code == 200


async def test_a_user_may_look_at_it_and_nodes_fetch_may_use_it(client: Client) -> None:
    asking = client(Recording())
    for headers in ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, {"Sec-Fetch-Mode": "cors"}):
        assert (await asking.get("/health", headers=headers)).status_code == 200


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if each[1] != "/health"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Bearer {SECRET[:-1]}"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"X-Api-Key": "wrong"},
    ],
    ids=str,
)
async def test_without_the_token_nothing_is_answered(
    client: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    engine = Recording()
    asking = client(engine, recognise=holders_of(SECRET))
    answer = await asking.request(method, path, headers=headers, json=infill(prompt=""))
    assert (answer.status_code, engine.requests) == (401, [])
    assert answer.headers["www-authenticate"] == "Bearer"
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {SECRET}"}, {"authorization": f"bearer  {SECRET}"}, {"X-Api-Key": SECRET}]
)
async def test_with_the_token_it_is(client: Client, headers: dict[str, str]) -> None:
    asking = client(Recording("x"), recognise=holders_of(SECRET))
    assert (await asking.post("/infill", headers=headers, json=infill())).json()["content"] == "x"


async def test_readiness_is_no_secret(client: Client) -> None:
    assert (await client(Recording(), recognise=holders_of(SECRET)).get("/health")).status_code == 200


async def test_bytes_that_are_no_text_are_no_token(client: Client) -> None:
    answer = await client(Recording(), recognise=holders_of(SECRET)).get(
        "/props", headers={b"Authorization": b"Bearer \xff\xfe"}
    )
    assert answer.status_code == 401


async def test_fills_have_the_names_of_the_clients_that_have_any(client: Client) -> None:
    engine = Recording()
    asking = client(engine, recognise={"1": "ann", "2": "bob"}.get)
    for token in "12":
        await asking.post("/infill", headers={"Authorization": f"Bearer {token}"}, json=infill())
    assert [each.client for each in engine.requests] == ["ann", "bob"]


@pytest.mark.parametrize("host", ["x/infill?", "a@b", "[", "evil.org#", "%00"])
async def test_a_name_that_is_let_in_changes_no_path(client: Client, host: str) -> None:
    asking = client(Recording("x"), hosts=None)
    assert (await asking.post("/infill", headers={"Host": host}, json=infill())).json()["content"] == "x"
    assert (await asking.get("/v1/none", headers={"Host": host})).json()["error"]["message"] == "File Not Found"
    assert 'route="/infill"' in (await asking.get("/metrics")).text


CODE, PATH, TOKEN = "secret_code = 4711", "/home/ann/secret.py", "another-token-of-more-signs"


async def test_neither_figures_nor_the_log_have_code_paths_names_or_tokens(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    asking = client(Recording(CODE), recognise={TOKEN: "ann"}.get)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    sent = infill(CODE, CODE, path=PATH, input_extra=[{"filename": PATH, "text": CODE}])
    await asking.post(f"/infill?path={PATH}", headers=headers, json=sent)
    await asking.post(f"/infill?path={PATH}", headers=headers, json=sent | {"input_prefix": None})
    await asking.post(f"/{PATH}", headers=headers, json=sent)
    figures = (await asking.get("/metrics", headers=headers)).text
    assert 'outcome="filled"' in figures
    assert 'outcome="refused"' in figures
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith("httpx")]
    for text in (figures, *ours):
        assert not any(each in text for each in ("secret", "4711", "ann", TOKEN))
