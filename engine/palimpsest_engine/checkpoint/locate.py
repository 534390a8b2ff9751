"""Find the folder or the file of a checkpoint, and the files in a folder. Knows nothing of their contents."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint import catalogue, store
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint

EMBEDDED = Path(__file__).parents[1] / "embedded"
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
NO_ADAPTER = "none"  # the value of the setting adapter for not even the one that comes with the package
TOKENIZER = "tokenizer.json"
_PATH = re.compile(r"~|\.{1,2}([/\\]|\Z)")
_LARGEST = 256 * 2**20  # bytes of a JSON file
_PATHS = "The path of a folder or file is absolute, or begins with ./, ../ or ~."
_TOKENIZER_PARTS = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")


def locate(name: str | None) -> Path:
    """Return the folder of a checkpoint, or its GGUF file.

    None is the model that the user has chosen, and without a choice the embedded one, as is "embedded". Other names are, in
    this order: a model of the store, and with one slash a model id in the local Hugging Face cache. A folder or a GGUF file
    is written as a path (`is_path`), so that none that happens to lie where the program runs is taken for a model.

    Raises CheckpointMissing, and CheckpointBroken if a record of the store is damaged.
    """
    chosen = store.chosen() if name is None else None
    if (name or chosen or store.EMBEDDED_NAME) == store.EMBEDDED_NAME:
        if not (EMBEDDED / "config.json").exists():
            raise CheckpointMissing(f"This installation has no embedded checkpoint (looked in {EMBEDDED}).")
        return EMBEDDED
    wanted = name or chosen
    assert wanted is not None
    if model := store.find(wanted):
        if problem := model.problem:
            raise CheckpointMissing(f"The model {wanted} cannot be used: {problem} {_remedy(model)}")
        if model.path.is_dir():
            refuse_pipes(model.path)
        return model.path
    if chosen:
        raise CheckpointMissing(
            f"The chosen model {chosen} is not on this machine any more; `palimpsest models use NAME` chooses another one, "
            "and the name embedded the one that comes with the program."
        )
    if is_path(wanted):
        return _at(wanted)
    if entry := catalogue.entry(wanted):
        size = f"{catalogue.size_text(entry.size)}" if entry.size else "its size is not known here"
        raise CheckpointMissing(
            f"The model {wanted} is not on this machine; `palimpsest models pull {wanted}` fetches it ({size})."
        )
    if wanted.count("/") == 1:
        return _in_cache(wanted)
    raise CheckpointMissing(f"There is no model {wanted}. {_PATHS}{_alike(wanted)}")


def is_path(name: str) -> bool:
    """Return whether a name stands for a path: it is absolute, or begins with `./`, `../` or `~`."""
    return _PATH.match(name) is not None or os.path.isabs(name)


def absolute(path: str) -> Path | None:
    """Return a path that is absolute, or one in a user's home; None for one that depends on the working folder."""
    whole = os.path.expanduser(path)  # leaves `~nobody` as it is
    return Path(whole) if os.path.isabs(whole) else None


def _at(wanted: str) -> Path:
    """Return the folder or the GGUF file at a path. Raises CheckpointMissing."""
    path = absolute(wanted) if wanted.startswith("~") else Path(wanted)
    if path is not None and path.is_dir():
        refuse_pipes(path)
        return path
    if path is not None and path.is_file():
        if path.suffix.lower() == ".gguf":
            return path
        raise CheckpointMissing(
            f"{wanted} is a file; a checkpoint is a folder with config.json and safetensors weights, or a GGUF file."
        )
    raise CheckpointMissing(f"There is no checkpoint folder and no GGUF file {wanted}.{_alike(wanted)}")


def is_embedded(name: str | None) -> bool:
    """Return whether `locate` gives the embedded checkpoint for this name. Raises CheckpointBroken."""
    return (name if name is not None else store.chosen()) in (None, store.EMBEDDED_NAME)


def _in_cache(name: str) -> Path:
    """Return the folder of a model id in the local Hugging Face cache. Raises CheckpointMissing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise CheckpointMissing(
            f"There is no model of the id {name} in the local Hugging Face cache. {_PATHS} "
            f"Nothing is downloaded unasked: run `hf download {name}` once.{_alike(name)}"
        ) from None


def _alike(wanted: str) -> str:
    """Return a sentence with the names that are spelled similarly, and the command that lists all."""
    names = {*store.names(), *(entry.name for entry in catalogue.entries()), store.EMBEDDED_NAME}
    near = difflib.get_close_matches(wanted.rpartition("/")[2].lower(), sorted(names), n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{meant} `palimpsest models list` shows the names."


def _remedy(model: store.Installed) -> str:
    if model.record.kind == "added":
        return f"Put it back, or run `palimpsest models remove {model.name}`."
    return f"`palimpsest models pull {model.name}` fetches it anew."


def read_json(path: Path, of: str = "The checkpoint") -> dict[str, Any]:
    """Read a JSON object from a file of a checkpoint, or of something else that errors name. Raises CheckpointBroken."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:  # reading a pipe would wait for ever
            raise CheckpointBroken(f"{path} is no file, or has more than {_LARGEST:,} bytes.")
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointBroken(f"{of} lacks {path.name} (looked in {path.parent}).") from None
    except OSError as error:
        raise CheckpointBroken(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointBroken(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointBroken(f"{path} is not a JSON object.")
    return value


def entries_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys of an object of JSON, and of all objects in it at any depth, with their values."""
    rest = [value]
    while rest:
        match rest.pop():
            case dict() as found:
                yield from found.items()
                rest += found.values()
            case list() as found:
                rest += found


def runs_code(config: Any) -> bool:
    """Return whether a config names modules that the library would fetch and run, at any depth (`auto_map`)."""
    return any(key == "auto_map" for key, _ in entries_in(config))


def refuse_pipes(folder: Path) -> None:
    """Raise CheckpointBroken for a folder with a pipe or a device in it: reading a pipe waits for ever."""
    for path in folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CheckpointBroken(f"{path} is a pipe or a device, not a file.")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint folder. Raises UnsupportedCheckpoint for a pickle or a GGUF file."""
    if folder.is_file():
        raise UnsupportedCheckpoint(f"{folder} is a file of another kind than safetensors.")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        if missing := [name for name in names if not (folder / name).exists()]:
            raise CheckpointBroken(
                f"The checkpoint lacks {len(missing)} of its {len(names)} weight files, first {missing[0]}."
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    if pickles := pickles_in(folder):
        raise UnsupportedCheckpoint(
            f"{folder} holds its weights as a pickle ({pickles[0]}); only safetensors are loaded, as a pickle can run code."
        )
    raise CheckpointMissing(f"There are no weights in {folder} (no model.safetensors).")


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a folder that make its tokenizer: `tokenizer.json`, or without it those to build it from."""
    whole = folder / TOKENIZER
    return [whole] if whole.exists() else [path for name in _TOKENIZER_PARTS if (path := folder / name).exists()]


def pickles_in(folder: Path) -> list[str]:
    """Return the names of files that are pickles by their suffix."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
