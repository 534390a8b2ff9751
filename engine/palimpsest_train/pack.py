"""Pack the token arrays of a corpus into one small archive for a training machine, and unpack it there. Trains nothing."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palimpsest_train.arrays import repeated, save
from palimpsest_train.atomic import whole
from palimpsest_train.errors import CorpusError

# Tokens are 16 bits wide: contexts of two bytes save a fifth against xz's defaults.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1, "dict_size": 1 << 26}]
TEXTS = ("tokenizer.json", "manifest.json", "ATTRIBUTION.txt")
MARGIN = 0.98  # of the limit, to aim at when documents are left out


@dataclass(frozen=True, slots=True)
class Packed:
    """The bytes of an archive, the training documents in it, and training documents there were."""

    size: int
    documents: int
    of: int


def pack(corpus: Path, archive: Path, limit: int, seed: int = 0) -> Packed:
    """Write tokenizer, manifest, attribution and all splits' arrays to a `.tar.xz` of at most `limit` bytes.

    Repeated documents are stored once. If it would be larger, whole training documents are left out, a seeded sample; of
    those that are repeated, last. Raises CorpusError if the corpus has no arrays, or cannot be made that small.
    """
    splits = {path.name.removesuffix(".starts.npy") for path in corpus.glob("*.starts.npy")}
    if "train" not in splits or not (corpus / "tokenizer.json").is_file():
        raise CorpusError(f"{corpus} has no token arrays; run `tokens` first")
    fixed = {name: (corpus / name).read_bytes() for name in TEXTS if (corpus / name).is_file()}
    for split in sorted(splits - {"train"}):
        fixed |= {f"{split}{end}": (corpus / f"{split}{end}").read_bytes() for end in (".npy", ".starts.npy")}
    tokens, starts, times = base_of(corpus)
    order = np.random.default_rng(seed).permutation(len(times))
    order = order[np.argsort(-times[order], kind="stable")]
    chosen = len(times)
    with whole(archive) as part:
        while True:
            kept = np.sort(order[:chosen])
            size = _write(part, fixed | _train(tokens, starts, times, kept))
            if size <= limit:
                break
            if not chosen:
                raise CorpusError(f"the archive cannot be smaller than {size} bytes, and the limit is {limit}")
            chosen = min(chosen - 1, int(chosen * max(0.0, limit * MARGIN / size)))
    return Packed(size, chosen, len(times))


def unpack(archive: Path, corpus: Path) -> int:
    """Write what `pack` packed under corpus; returns the number of training tokens.

    Only plain members with the names that `pack` gives are written. Raises CorpusError for any other archive.
    """
    corpus.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:xz") as opened:
            members = {m.name: opened.extractfile(m) for m in opened if m.isreg()}
            data = {name: file.read() for name, file in members.items() if file}
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{archive} is no whole archive ({error}); copy it again") from error
    try:
        arrays = {n: np.load(io.BytesIO(d), allow_pickle=False) for n, d in data.items() if n.endswith(".npy")}
        tokens, starts, times = (arrays.pop(f"train{end}") for end in (".npy", ".starts.npy", ".times.npy"))
    except (KeyError, ValueError, EOFError) as error:
        raise CorpusError(f"{archive} is none that `pack` has written: {error}") from error
    arrays["train.npy"], arrays["train.starts.npy"] = repeated(tokens, starts, times.tolist())
    arrays["train.times.npy"] = times
    for name, array in arrays.items():
        if "/" not in name and "\\" not in name:
            save(corpus / name, array)
    for name in TEXTS:
        if name in data:
            with whole(corpus / name) as part:
                part.write_bytes(data[name])
    return len(arrays["train.npy"])


def base_of(corpus: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (tokens `[N]`, starts `[D + 1]`, times `[D]`): the training split, each document once, and how often it is
    written."""
    tokens = np.load(corpus / "train.npy", mmap_mode="r")
    starts = np.load(corpus / "train.starts.npy")
    times_file = corpus / "train.times.npy"
    times = np.load(times_file) if times_file.is_file() else np.ones(len(starts) - 1, dtype=np.int64)
    times = times[times > 0]
    starts = starts[: len(times) + 1]
    return tokens[: starts[-1]], starts, times


def _train(tokens: np.ndarray, starts: np.ndarray, times: np.ndarray, kept: np.ndarray) -> dict[str, bytes]:
    chosen = np.zeros(len(times), dtype=np.int64)
    chosen[kept] = 1
    tokens, starts = repeated(tokens, starts, chosen.tolist())
    arrays: Mapping[str, np.ndarray] = {"train.npy": tokens, "train.starts.npy": starts, "train.times.npy": times[kept]}
    return {name: _bytes(array) for name, array in arrays.items()}


def _bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _write(path: Path, members: Mapping[str, bytes]) -> int:
    options: dict[str, Any] = {"format": lzma.FORMAT_XZ, "filters": FILTERS}
    with lzma.open(path, "wb", **options) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(members):
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            tar.addfile(info, io.BytesIO(members[name]))
    return path.stat().st_size
