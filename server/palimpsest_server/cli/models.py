"""`palimpsest models`: list, pull, add, choose and remove the models that fill. Only `pull` opens a connection."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palimpsest_engine import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint
from palimpsest_engine.checkpoint import catalogue, kept, machine, store
from palimpsest_engine.checkpoint.catalogue import Entry, size_text
from palimpsest_engine.errors import CheckpointError
from palimpsest_server.cli import models_table, serve_model

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.download import Plan


@click.group("models", short_help="List, fetch and choose models.")
def command() -> None:
    """List the models that Palimpsest knows, fetch one, add your own, choose the one that fills.

    Only `pull` reaches another machine, and it asks before.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List all models, say which fit this machine, and recommend one."""
    here = machine.this_machine()
    recommended = machine.recommend(here, catalogue.entries())
    rows = models_table.rows(here)
    if as_json:
        answer = {
            "format": 1,
            "machine": {
                "memory": here.memory,
                "gpu": here.gpu or None,
                "gpu_memory": here.gpu_memory,
                "cores": here.cores,
            },
            "folder": str(store.root()),
            "recommended": {"name": recommended.name or store.EMBEDDED_NAME, "reason": recommended.reason},
            "models": [row.as_json() for row in rows],
        }
        click.echo(json.dumps(answer))
        return
    models_table.show(rows, recommended)


@command.command("show", short_help="Show everything that is known of one model.")
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show everything that is known of one model: files, hashes, licence, origin, and where it is."""
    row = next((row for row in models_table.rows(machine.this_machine()) if row.name == name), None)
    if row is None:
        from palimpsest_engine.checkpoint.locate import locate

        if "/" not in name:
            locate(name)  # raises the error that has the similar names
        raise CheckpointMissing(f"There is no model {name}; `palimpsest models list` shows the names.")
    click.echo(json.dumps(row.as_json()) if as_json else "\n".join(models_table.details(row)))


@command.command("pull")
@click.argument("name", metavar="NAME", required=False)
@click.option("--recommended", is_flag=True, help="Pull the model that `list` recommends for this machine.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--use", "then_use", is_flag=True, help="Also choose it, as `use` does.")
def pull(name: str | None, recommended: bool, yes: bool, then_use: bool) -> None:
    """Fetch the model NAME of the catalogue, verify it, and install it.

    Size and licence are shown before anything is fetched. A download that was cut off is resumed by the same command.
    """
    if (name is None) != recommended:
        raise click.UsageError("give NAME or --recommended, one of them")
    if recommended:
        found = machine.recommend(machine.this_machine(), catalogue.entries())
        click.echo(f"{found.name or 'The embedded checkpoint'} is recommended. {found.reason}")
        if found.name is None:
            return
        name = found.name
    assert name is not None
    entry = catalogue.entry(name) or _unknown(name)
    from palimpsest_engine.checkpoint import download  # imports the hub's library

    if there := download.present(entry):
        click.echo(f"{name} is on this machine already: {there.path}")
    else:
        plan = _agreed(entry, yes)
        with models_table.progress() as progress:
            model = download.pull(plan, progress)
        click.echo(f"{name} is installed: {size_text(model.record.size)}, every hash is right. {model.path}")
        if not _prepare(model.path) and then_use:
            raise UnsupportedCheckpoint(f"{name} is not chosen, because Palimpsest cannot load it.")
    if then_use:
        _use(name)
    elif store.chosen() != name:
        click.echo(f"`palimpsest models use {name}` chooses it for all editors and commands.")


def _agreed(entry: Entry, yes: bool) -> Plan:
    """Show what would be fetched and ask the user; return the plan. Raises click.Abort if the answer is no."""
    from palimpsest_engine.checkpoint import download

    for line in models_table.offer(entry):
        click.echo(line)
    if entry.pinned:
        if not yes:
            click.confirm(f"Fetch {size_text(entry.size)}?", abort=True)
        return download.plan(entry)
    if not yes:
        click.confirm("Ask the hub for its revision, sizes and hashes?", abort=True)
    plan = download.plan(entry)
    click.echo(f"  the hub has {len(plan.files)} files, {size_text(plan.size)}, at revision {plan.revision}")
    click.echo(f"  licence     {plan.licence or catalogue.UNKNOWN}")
    if not yes:
        click.confirm(f"Fetch {size_text(plan.size)}?", abort=True)
    return plan


def _unknown(name: str) -> Entry:
    """Raise the error for a name that the catalogue does not have."""
    import difflib

    near = difflib.get_close_matches(name.lower(), [each.name for each in catalogue.entries()], n=3)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise CheckpointMissing(
        f"The catalogue has no model {name}.{meant} `palimpsest models list` shows the names, and `palimpsest models add` "
        "takes a file or a folder of your own."
    )


@command.command("add")
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the model. [default: that of the file or folder]")
def add(path: Path, name: str | None) -> None:
    """Give a GGUF file or a checkpoint folder of your own a name. It stays where it is; nothing is copied."""
    from palimpsest_engine.checkpoint import adopt

    model = adopt.add(path, name)
    _prepare(model.path)
    click.echo(
        f"{model.name} is added; its files stay in {model.path}. `palimpsest models use {model.name}` chooses it."
    )


def _prepare(path: Path) -> bool:
    """Do now what the first start of a model would take half a minute for. Return whether the model can be loaded.

    Others can be fetched and added all the same: `models serve` runs any that llama.cpp knows.
    """
    from palimpsest_engine.checkpoint.load_causal import prepare

    begun = time.perf_counter()
    try:
        if prepare(path):
            click.echo(f"It is made ready for this processor: {time.perf_counter() - begun:.0f} s.")
    except CheckpointError as error:
        click.echo(f"Palimpsest itself cannot load it: {error}", err=True)
        return False
    return True


@command.command("use", short_help="Choose the model that fills wherever no other is named.")
@click.argument("name", metavar="NAME")
def use(name: str) -> None:
    """Choose the model that fills wherever no other is named; `embedded` is the one that comes with the program."""
    _use(name)


def _use(name: str) -> None:
    from palimpsest_engine.checkpoint.locate import locate

    if name != store.EMBEDDED_NAME:
        if store.find(name) is None and catalogue.entry(name) is None:
            if Path(name).expanduser().exists():
                raise CheckpointMissing(f"{name} is a path; `palimpsest models add {name}` gives it a name to choose.")
            _unknown(name)
        locate(name)
    store.choose(None if name == store.EMBEDDED_NAME else name)
    click.echo(f"{name} is chosen. A running server takes it up when it is restarted.")


@command.command("remove")
@click.argument("name", metavar="NAME")
def remove(name: str) -> None:
    """Remove a model from this machine. Files that were added with `add` stay."""
    was_chosen = store.chosen() == name
    with suppress(CheckpointBroken):  # a damaged record is removed, too
        if model := store.find(name):
            kept.forget(model.path)
    freed = store.remove(name)
    again = " The embedded checkpoint is chosen now." if was_chosen else ""
    click.echo(f"{name} is removed; {size_text(freed)} are free again.{again}")


command.add_command(serve_model.command)
