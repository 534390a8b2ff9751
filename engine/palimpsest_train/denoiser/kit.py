"""Makes the folder a run needs, cuts it into parts that travel one by one, and puts them together where they arrive.

A part holds files with their SHA-256; the base, which is larger than a part may be, is cut into pieces over all parts. The
code that trains travels too, so that it does not matter which tree the machine has. Every step can be repeated.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from palimpsest_train.denoiser import base, texts
from palimpsest_train.denoiser.tokens import choose, plain
from palimpsest_train.errors import TrainingError

BASE, PIECES = "base.safetensors", "base.json"
PACKED = ("tokenizer.json", "train.safetensors", "held_out.safetensors")
TIMES = {"algorithms": 2.0}  # small functions that do one thing, which is what people fill: drawn more often
COUNTED = 30_000_000  # characters by which the ids are chosen
HELD_OUT = 2_000_000  # bytes
RESERVE = 2**19  # bytes for sums, the description and the code, which travels again with the last part
ARRIVED = "/tmp/denoiser"
SPARE = 2**20  # bytes of a call that are left free
LINE = (
    "set -eo pipefail; export PYTHONUNBUFFERED=1 PYTHONPATH={to}/code; mkdir -p {to}; cp -r {part}/. {to}/; "
    "(cd {to}; sha256sum --quiet -c {name}.sums; du -sh .)"
)
JOIN = "; python3 -m palimpsest_train.denoiser join --kit {to}; python3 -m palimpsest_train.denoiser "
PROBE = (
    JOIN + "train --smoke --kit {to} --out {to}/smoke --steps 6 --problems 4 --evaluate 30 --workers 4 --device cuda; "
    "python3 -m palimpsest_train.denoiser probe --kit {to} --out $OUT --device cuda"
)
TRAIN = JOIN + ("train --kit {to} --out $OUT --minutes 4.5 --evaluate 75 --device cuda 2>&1 | tee $OUT/train.log")


def prepare(
    gguf_file: Path, corpus: Path, problems: tuple[Path, ...], count: int, most_ids: int, most: int, kit: Path
) -> dict[str, int]:
    """Write the kit's folder; returns the bytes of its files. most: bytes of text. The first GGUF file is read whole."""
    kit.mkdir(parents=True, exist_ok=True)
    tokenizer = base.tokenizer_of(gguf_file)
    tokenizer.save(str(kit / "tokenizer.json"), pretty=False)
    rows = texts.read_jsonl(corpus / "train.jsonl")
    texts.pack(rows, TIMES, kit / "train.safetensors", most)
    held_out = [row for path in sorted(corpus.glob("held_out*.jsonl")) for row in texts.read_jsonl(path)]
    texts.pack(held_out, {}, kit / "held_out.safetensors", HELD_OUT)
    sample = np.random.default_rng(0).permutation(len(rows))
    ids = choose(plain(tokenizer), counted(rows[i]["text"] for i in sample), most_ids, base.FIRST_SPARE)
    save_ids(kit, ids, base.FIRST_SPARE)
    base.cut(gguf_file, kit / BASE, ids)
    for number, path in enumerate(problems, 1):  # filled in this order, while there is time
        name = f"{number}-{path.name.partition('.')[0].lower()}"
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
        chosen = [lines[int(i)] for i in np.linspace(0, len(lines) - 1, min(count, len(lines)))]
        with gzip.open(kit / f"problems-{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(chosen)
    return {path.name: path.stat().st_size for path in sorted(kit.iterdir()) if path.is_file()}


def save_ids(kit: Path, ids: np.ndarray, mask: int) -> None:
    """Write the ids of a kit, and which of them is the mask."""
    save_file({"ids": ids.astype(np.int32)}, kit / "ids.safetensors", {"mask": str(mask)})


def counted(documents: Iterator[str]) -> Iterator[str]:
    """Yield documents until there are enough characters."""
    characters = 0
    for text in documents:
        yield text
        characters += len(text)
        if characters > COUNTED:
            return


def room(tree: Path, limit: int) -> int:
    """Return the bytes that a working tree leaves in a call of at most `limit` bytes: its files that git does not ignore.

    Raises TrainingError where git does not know the tree.
    """
    command = ["git", "-C", str(tree), "ls-files", "-coz", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8", "surrogateescape")
    except (OSError, subprocess.CalledProcessError) as error:
        raise TrainingError(
            f"{tree} is no working tree of git; say with --mebibytes how large a part may be."
        ) from error
    paths = [tree / name for name in set(listed.split("\0")) if name]
    return limit - sum(path.lstat().st_size for path in paths if path.is_file()) - SPARE


def split(kit: Path, out: Path, most: int) -> Iterator[str]:
    """Write `partN` folders of at most so many bytes and `calls.txt`; yields a line for each part."""
    shutil.rmtree(out, ignore_errors=True)
    first = out / "part1"
    first.mkdir(parents=True)
    for name in PACKED:
        shutil.copy(compressed(kit / name), first / f"{name}.xz")
    for path in [kit / "ids.safetensors", *sorted(kit.glob("problems-*.jsonl.gz"))]:
        shutil.copy(path, first / path.name)
    copy_code(first / "code")
    data = (kit / BASE).read_bytes()
    pieces, taken = list[tuple[int, int]](), 0
    while taken < len(data):
        left = most - (size_of(first) if not pieces else 0) - RESERVE
        if left <= 0:
            raise TrainingError(f"The texts leave no room in a part of {most} bytes; pack less text.")
        pieces.append((taken, min(len(data), taken + left)))
        taken = pieces[-1][1]
    note = {"pieces": len(pieces), "sha256": hashlib.sha256(data).hexdigest()}
    calls = []
    for number, (start, end) in enumerate(pieces, 1):
        part = out / f"part{number}"
        part.mkdir(exist_ok=True)
        (part / f"{BASE}.{number:02}").write_bytes(data[start:end])
        (part / PIECES).write_text(json.dumps(note), "utf-8")
        if number == len(pieces):
            copy_code(part / "code")
        files = sorted(path for path in part.rglob("*") if path.is_file())
        sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(part).as_posix()}\n" for f in files]
        (part / f"part{number}.sums").write_text("".join(sums), "utf-8")
        line = LINE + (PROBE if number == 1 else TRAIN if number == len(pieces) else "")
        calls.append(line.format(part=f"{out.name}/part{number}", to=ARRIVED, name=f"part{number}"))
        yield f"{part}: {size_of(part) / 2**20:.1f} MiB"
    (out / "calls.txt").write_text("\n\n".join(calls) + "\n", "utf-8")
    yield f"{out / 'calls.txt'}: the command of each call"


def compressed(path: Path) -> Path:
    """Return the file beside this one that holds it compressed; make it again if it is older."""
    packed = path.with_name(f"{path.name}.xz")
    if not packed.exists() or packed.stat().st_mtime < path.stat().st_mtime:
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 26}]
        packed.write_bytes(lzma.compress(path.read_bytes(), filters=filters))
    return packed


def join(kit: Path) -> str:
    """Unpack what has arrived, and put the base together if all of it has. Raises TrainingError if a piece is damaged."""
    for name in PACKED:
        packed = kit / f"{name}.xz"
        if packed.exists():
            part = kit / f".{name}"
            part.write_bytes(lzma.decompress(packed.read_bytes()))
            part.replace(kit / name)
    try:
        note = json.loads((kit / PIECES).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{kit} has no {PIECES}; no part has arrived in it.") from error
    paths = [kit / f"{BASE}.{number:02}" for number in range(1, note["pieces"] + 1)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        return f"the texts are there; the base waits for {', '.join(missing)}"
    digest = hashlib.sha256()
    with (kit / f".{BASE}").open("wb") as out:
        for path in paths:
            data = path.read_bytes()
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != note["sha256"]:
        raise TrainingError("The base is not what was cut; its pieces are of different kits: send them all again.")
    (kit / f".{BASE}").replace(kit / BASE)
    return f"all is there: the base has {(kit / BASE).stat().st_size / 2**20:.1f} MiB"


def copy_code(to: Path) -> None:
    """Copy the modules that a run imports, and no others."""
    source = Path(__file__).parents[1]
    (to / source.name / "denoiser").mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(source / name, to / source.name / name)
    for path in sorted((source / "denoiser").glob("*.py")):
        shutil.copy(path, to / source.name / "denoiser" / path.name)


def size_of(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
