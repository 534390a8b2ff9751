"""Find the folder of a checkpoint and the files in it. Knows nothing of their contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint

EMBEDDED = Path(__file__).parents[1] / "embedded"


def locate(name: str | None) -> Path:
    """Return the folder of a checkpoint: the embedded one for None, a path, or a model id in the local Hugging Face cache.

    Raises CheckpointMissing.
    """
    if name is None:
        if not (EMBEDDED / "config.json").exists():
            raise CheckpointMissing(f"This installation has no embedded checkpoint (looked in {EMBEDDED}).")
        return EMBEDDED
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.suffix == ".gguf" and folder.is_file():
        return folder
    if folder.exists():
        raise CheckpointMissing(f"{name} is a file; a checkpoint is a folder with config.json and safetensors weights.")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            raise CheckpointMissing(
                f"There is no folder {name}, and no model of that id in the local Hugging Face cache. "
                f"Nothing is downloaded unasked: run `hf download {name}` once."
            ) from None
    raise CheckpointMissing(f"There is no checkpoint folder {name}.")


def read_json(path: Path, of: str = "The checkpoint") -> dict[str, Any]:
    """Read a JSON object from a file of a checkpoint, or of something else that errors name. Raises CheckpointBroken."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointBroken(f"{of} lacks {path.name} (looked in {path.parent}).") from None
    except ValueError as error:
        raise CheckpointBroken(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointBroken(f"{path} is not a JSON object.")
    return value


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that a checkpoint consists of. Raises UnsupportedCheckpoint for a pickle."""
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


def pickles_in(folder: Path) -> list[str]:
    """Return the names of files that are pickles by their suffix."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
