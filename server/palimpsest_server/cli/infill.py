"""`palimpsest infill`: complete a data file of prompts and suffixes; a run can be stopped and resumed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from palimpsest_engine import EngineSettings, FillRequest, Span
from palimpsest_engine.errors import DataError
from palimpsest_server.cli import engines, files
from palimpsest_server.documents import edits

_ROW_HEAD = b'{"task_id": '


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the data file."""

    task_id: str | int
    prompt: str
    suffix: str


@click.command("infill", short_help="Complete a data file of prompts and suffixes.")
@click.option(
    "--data", required=True, metavar="IN.jsonl", help="File with rows of task_id, prompt and suffix; may be gzip."
)
@click.option("--out", required=True, metavar="OUT.jsonl", help="File for rows of task_id, completion, nfe and ms.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N rows.")
@click.option("--language", default="python", show_default=True, metavar="ID", help='Language of the rows, or "none".')
@engines.seed_option
@engines.sizes_option
@engines.settings_options(engines.endpoint_option)
@click.pass_context
def command(
    ctx: click.Context,
    data: str,
    out: str,
    limit: int | None,
    language: str,
    seed: int,
    sizes: tuple[int, ...] | None,
    settings: EngineSettings,
) -> None:
    """Complete every row of a data file.

    Rows that OUT already has are skipped, so the same command resumes a stopped run. All of IN is checked before the
    first row is completed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    tasks = read_tasks(Path(data))[:limit]
    done = mend(Path(out))
    left = [task for task in tasks if task.task_id not in done]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        engines.opened(ctx.obj, settings) as engine,
        open(out, "ab") as file,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("infill", total=len(tasks), completed=len(tasks) - len(left))
        for task in left:
            fill = engines.ask(engine, _request(task, language, seed, sizes))
            text = edits.with_line_ends_of(task.prompt + task.suffix, fill.texts[0])
            row = {"task_id": task.task_id, "completion": text, "nfe": fill.nfe, "ms": round(fill.ms, 3)}
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            progress.advance(bar)


def _request(task: Task, language: str, seed: int, sizes: tuple[int, ...] | None) -> FillRequest:
    at = len(task.prompt)
    return FillRequest(
        task.prompt + task.suffix,
        (Span(at, at),),
        language=None if language == "none" else language,
        any_language=True,  # the user has named it
        seed=seed,
        sizes=sizes,
    )


def read_tasks(path: Path) -> list[Task]:
    """Read every row of a data file, gzip or not. Raises DataError that names the line."""
    tasks: list[Task] = []
    seen: dict[str | int, int] = {}
    for number, row in files.json_rows(path, files.read_unzipped(path)):
        task = _task(path, number, row)
        if task.task_id in seen:
            first = seen[task.task_id]
            raise DataError(f"{path} line {number}: the task_id {task.task_id!r} is already on line {first}")
        seen[task.task_id] = number
        tasks.append(task)
    return tasks


def mend(path: Path) -> set[str | int]:
    """Complete or remove a torn last line of a result file, and return the task ids in the file.

    Raises DataError, and changes nothing, if the file has a fault that a killed run does not explain.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return set()
    whole = raw.rfind(b"\n") + 1
    done = {_done(path, number, row) for number, row in files.json_rows(path, raw[:whole])}
    torn = raw[whole:]
    if not torn:
        return done
    if not (torn.startswith(_ROW_HEAD) or _ROW_HEAD.startswith(torn)):
        raise DataError(f"{path}: the last line is not a result row; name another --out, or remove the file")
    try:
        done.add(_done(path, raw.count(b"\n") + 1, json.loads(torn)))
    except ValueError:
        os.truncate(path, whole)
    else:
        with path.open("ab") as file:
            file.write(b"\n")
    return done


def _done(path: Path, number: int, row: Any) -> str | int:
    task_id = row.get("task_id") if isinstance(row, dict) else None
    if not _is_id(task_id) or not isinstance(row.get("completion"), str):
        raise DataError(f"{path} line {number}: not a result row with a task_id and a completion")
    return cast(str | int, task_id)


def _task(path: Path, number: int, row: Any) -> Task:
    if not isinstance(row, dict):
        raise DataError(f"{path} line {number}: expected an object, not {type(row).__name__}")
    for key in ("task_id", "prompt", "suffix"):
        if key not in row:
            raise DataError(f"{path} line {number}: there is no {key}")
    if not _is_id(row["task_id"]):
        raise DataError(f"{path} line {number}: the task_id is neither a string nor a whole number")
    for key in ("prompt", "suffix"):
        if not isinstance(row[key], str):
            raise DataError(f"{path} line {number}: the {key} is not a string")
        if any("\ud800" <= character <= "\udfff" for character in row[key]):
            raise DataError(f"{path} line {number}: the {key} has half a surrogate pair in it")
    return Task(row["task_id"], row["prompt"], row["suffix"])


def _is_id(value: object) -> bool:
    return isinstance(value, str) or type(value) is int
