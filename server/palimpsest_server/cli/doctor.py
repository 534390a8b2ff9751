"""`palimpsest doctor`: say what is wrong on this machine and how to fix it, what the running servers do, or whether a model
is the published one.

The engine examines the machine and the model. The running servers write status files (`status_file.py`), which are read here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from palimpsest_engine import Endpoint, EngineSettings, __version__
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import NoKnownAnswer
from palimpsest_engine.runtime.doctor import Check, examine
from palimpsest_engine.runtime.verify import Finding, verify
from palimpsest_server.cli import cards, engines
from palimpsest_server.documents.uris import path_of
from palimpsest_server.status import status_file
from palimpsest_server.status.visible import visible

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}
_NOBODY = "no server is running for this user"


@click.command("doctor", short_help="Check this machine or a model, or show the running servers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--live", "running", is_flag=True, help="Show each of your running servers and its last requests.")
@click.option("--verify", "verifying", is_flag=True, help="Compare what a model answers with what is published of it.")
@click.option("--cards", "by_card", is_flag=True, help="Show what to choose for which graphics card.")
@engines.engine_options
@engines.adapter_option
@engines.endpoint_option
@click.pass_context
def command(
    ctx: click.Context,
    as_json: bool,
    running: bool,
    verifying: bool,
    by_card: bool,
    checkpoint: str | None,
    device: str,
    quantization: Quantization,
    adapter: str | None,
    endpoint: Endpoint | None,
) -> None:
    """Check everything that a fill needs, and time a fill. With --live, show the running servers instead; with
    --verify, say whether the model that is loaded is the published one; with --cards, what to choose for which card.

    The exit code is 0 if all is well, else 1, and with --verify 26 if nothing is published of the model.
    """
    if by_card:
        if running or verifying or (adapter, device, quantization, endpoint) != (None, "auto", "none", None):
            raise click.UsageError("--cards asks no machine: leave all other options but --model and --json out")
        ctx.exit(cards.show(EngineSettings(checkpoint), as_json))
    if verifying:
        if running or adapter is not None or endpoint is not None:
            raise click.UsageError(
                "--verify loads a model as it was published: leave --live, --adapter and --endpoint out"
            )
        ctx.exit(_verify(EngineSettings(checkpoint, device, quantization=quantization), as_json))
    if running:
        if (checkpoint, adapter, device, quantization, endpoint) != (None, None, "auto", "none", None):
            raise click.UsageError(
                "--live opens no checkpoint: leave --model, --adapter, --device, --quantization and --endpoint out"
            )
        ctx.exit(_show_servers(as_json))
    checks: list[Check] = []
    settings = EngineSettings(checkpoint, device, adapter=adapter, quantization=quantization, endpoint=endpoint)
    with engines.opened(ctx.obj, settings) as engine:
        for check in examine(engine, settings):
            checks.append(check)
            if not as_json:
                _show(check)
    well = all(check.status != "error" for check in checks)
    if as_json:
        report = {
            "format": 1,
            "version": __version__,
            "ok": well,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        click.echo(json.dumps(report))
    else:
        click.echo("all is well" if well else "something is wrong: see the errors above")
    ctx.exit(0 if well else 1)


def _verify(settings: EngineSettings, as_json: bool) -> int:
    """Print what is found of a model. Returns the exit code: that of the first error."""
    findings: list[Finding] = []
    for finding in verify(settings):
        findings.append(finding)
        if not as_json:
            _show(finding)
    code = next((finding.exit_code for finding in findings if finding.exit_code), 0)
    if as_json:
        report = {
            "format": 1,
            "version": __version__,
            "ok": code == 0,
            "checks": [
                {key: value for key, value in dataclasses.asdict(each).items() if key != "exit_code"}
                for each in findings
            ],
        }
        click.echo(json.dumps(report))
    elif code == 0:
        click.echo("this is the published model")
    elif code == NoKnownAnswer.exit_code:
        click.echo("nobody can say: there is nothing to compare with")
    else:
        click.echo("this is not shown to be the published model: see the errors above")
    return code


def _show(check: Check | Finding) -> None:
    status = click.style(f"{check.status:8}", _COLOURS[check.status])
    click.echo(f"{status}{check.name:12}{visible(check.found)}")
    if check.advice:
        click.echo(f"{'':20}what to do: {visible(check.advice)}")


# The running servers


def _show_servers(as_json: bool) -> int:
    """Print every running server. Returns the exit code: 0 if one of them is well."""
    found = status_file.servers()
    well = any(server["status"].get("state") != "error" for server in found)
    if as_json:
        click.echo(json.dumps({"format": status_file.FORMAT, "version": __version__, "ok": well, "servers": found}))
        return 0 if well else 1
    for server in found:
        for line in _server_lines(server):
            click.echo(line)
        click.echo()
    if not well:
        click.echo("no running server is well: see above" if found else _NOBODY)
    return 0 if well else 1


def _server_lines(server: Mapping[str, Any]) -> list[str]:
    """Describe one server. It may have another version, so every key may be missing."""
    status: Mapping[str, Any] = server["status"]
    model = " on ".join(each for name in ("model", "device") if (each := _text(status.get(name))))
    rows = {
        "state": _joined(": ", status.get("state"), status.get("reason")),
        "model": model or "none loaded",
        "paused": _joined(", ", *_list(status.get("paused"))),
        "folders": _joined(", ", *(path_of(str(uri)) or uri for uri in _list(server.get("folders")))),
        "last": _last(status.get("lastEmpty")),
        "counted": _counted(status.get("counters")),
    }
    client = _text(server.get("client")) or "a client without a name"
    since = f"since {_local(server.get('started'))}, last heard of {_local(server.get('updated'))}"
    lines = [f"server {server['pid']} ({_text(server.get('version'))}) for {client}, {since}"]
    lines += [f"  {name:10}{value}" for name, value in rows.items() if value]
    requests = [each for each in _list(server.get("requests")) if isinstance(each, Mapping)]
    return lines + [f"  {_request(each)}" for each in requests]


def _last(empty: object) -> str:
    if not isinstance(empty, Mapping):
        return "the last request got something, or there was none"
    return f"{_text(empty.get('request'))} got nothing: {_text(empty.get('reason'))}"


def _counted(counters: object) -> str:
    named = counters.items() if isinstance(counters, Mapping) else ()
    return ", ".join(f"{_text(name)} {count}" for name, count in named if isinstance(count, int))


def _request(request: Mapping[str, Any]) -> str:
    """Format one request as a row."""
    method = _text(request.get("method")).removeprefix("textDocument/")
    ms = request.get("ms")
    took = f"{ms:.0f} ms" if isinstance(ms, int | float) else ""
    outcome = f"nothing: {_text(request['reason'])}" if request.get("reason") else "offered"
    return f"{_text(request.get('id')):7}{method:26}{took:>9}  {_text(request.get('source')):7}{outcome}"


def _joined(between: str, *parts: object) -> str:
    return between.join(text for part in parts if (text := _text(part)))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a text from outside without characters that control a terminal."""
    return "" if value is None else "".join(each if each.isprintable() else "?" for each in str(value))


def _local(when: object) -> str:
    try:
        return datetime.fromisoformat(str(when)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"
