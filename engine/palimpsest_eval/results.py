"""Results on disk, with everything that produced them. Rows are written at once, so that a run can be resumed.

During a run `NAME.rows.jsonl` grows beside `NAME`: the settings on its first line, then one row a line. At the end
`NAME` takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from palimpsest_engine import __version__
from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.measures import ResultRow
from palimpsest_server.cli import files

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a run and their origin.

    settings: everything that decides the rows; two runs with the same settings are the same run. about: date, command
    and machine.
    """

    settings: dict[str, Any]
    about: dict[str, Any]
    rows: tuple[ResultRow, ...]

    def of(self, system: str) -> list[ResultRow]:
        """Return the rows of a system."""
        return [row for row in self.rows if row.system == system]

    @property
    def systems(self) -> list[str]:
        """Return the names of the systems, in order."""
        return list(dict.fromkeys(row.system for row in self.rows))


class Journal:
    """The rows of an unfinished run; a context manager. Rows that it already has are not computed again.

    Raises DataError if the journal or the results file has rows of a run with other settings.
    """

    def __init__(self, out: Path, settings: dict[str, Any], about: dict[str, Any]) -> None:
        self.out, self.path = out, out.with_name(out.name + ".rows.jsonl")
        self.settings, self.about = settings, about
        self.done: dict[tuple[str, str, int], ResultRow] = {}
        if not out.parent.is_dir():
            raise DocumentMissing(f"there is no folder {out.parent}")
        if out.exists():
            results = read(out)
            self._same(out, results.settings)
            self.about, self.done = results.about, {(row.system, row.task, row.seed): row for row in results.rows}
        if self.path.exists():
            self._resume()
        else:
            rows = [json.dumps(row.as_json()) for row in self.done.values()]
            head = json.dumps({"settings": settings, "about": self.about})
            self.path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
        self._file = self.path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: ResultRow) -> None:
        """Add a row and write it to disk at once."""
        self.done[row.system, row.task, row.seed] = row
        self._file.write(json.dumps(row.as_json()) + "\n")
        self._file.flush()

    def finish(self) -> Results:
        """Write the results and remove the journal. Every row must be there."""
        results = Results(self.settings, self.about, tuple(self.done.values()))
        write(self.out, results)
        self._file.close()
        self.path.unlink()
        return results

    def _same(self, path: Path, settings: Any) -> None:
        if settings == self.settings:
            return
        mine, its = self.settings, settings if isinstance(settings, dict) else {}
        other = sorted(key for key in {*mine, *its} if mine.get(key) != its.get(key))
        raise DataError(
            f"{path} is of a run with other settings ({', '.join(other)}): remove it, or name another --out"
        )

    def _resume(self) -> None:
        raw = self.path.read_bytes()
        whole = raw.rfind(b"\n") + 1  # a last line that was cut short is measured again
        lines = raw[:whole].splitlines()
        try:
            head = json.loads(lines[0])
            rows = [ResultRow(**json.loads(line)) for line in lines[1:]]
        except (IndexError, ValueError, TypeError) as error:
            raise DataError(
                f"{self.path} is not a journal of an evaluation: remove it, or name another --out"
            ) from error
        self._same(self.path, head.get("settings") if isinstance(head, dict) else None)
        self.about = head["about"]
        self.done = {(row.system, row.task, row.seed): row for row in rows}
        os.truncate(self.path, whole)


def write(path: Path, results: Results) -> None:
    """Write a results file atomically, one row a line."""
    head = {"format": FORMAT, "settings": results.settings, "about": results.about}
    rows = ",\n".join(json.dumps(row.as_json()) for row in results.rows)
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "rows": [\n{rows}\n]}}\n'
    files.put(path, text)


def read(path: Path) -> Results:
    """Read a results file. Raises DocumentMissing or DataError."""
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise DataError(f"{path} is of format {raw['format']}; this version reads {FORMAT}")
        rows = tuple(ResultRow(**row) for row in raw["rows"])
        return Results(raw["settings"], raw["about"], rows)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {path}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a results file of `palimpsest eval`") from error


def digest(*paths: Path) -> str:
    """Return the SHA-256 of the concatenated files."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def about(arguments: list[str]) -> dict[str, Any]:
    """Return the date, the command line (absolute paths shortened to their names) and the machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["palimpsest", *map(_without_folders, arguments)]),
        "machine": machine(),
    }


def _without_folders(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if os.path.isabs(os.path.expanduser(value)) else argument


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores this process may use, torch's threads, versions."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of this code, with `-changed` if it was edited since; outside a repository, the version."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", Path(__file__).name):
            changed = git("status", "--porcelain", "--untracked-files=no", "--", "../palimpsest_engine", ".")
            return git("rev-parse", "--short=12", "HEAD") + ("-changed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        pass
    return f"version {__version__}"


def described(checkpoint: Checkpoint, adapter: str | None = None) -> dict[str, Any]:
    """Return everything about a checkpoint that decides its answers. adapter: the folder of its adapter."""
    spec = asdict(checkpoint.spec)
    for told_otherwise in ("name", "sha256", "languages", "sources", "profiles"):
        del spec[told_otherwise]
    return {
        "name": checkpoint.name,
        "sha256": digest(*sorted(checkpoint.files)),
        "adapter_sha256": adapter and digest(*sorted(Path(adapter).expanduser().glob("*.safetensors"))),
        "parameters": checkpoint.parameters,
        "dtype": checkpoint.number_format,
        "device": checkpoint.device,
        "spec": json.loads(json.dumps(spec)),  # tuples as a file has them
    }
