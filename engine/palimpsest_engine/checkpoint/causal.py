"""Load a left-to-right model, from safetensors or from GGUF, every tensor from its files; on a CPU in eight bits, on a GPU in
the format that is asked for.

Rounding a model takes a while, so its result is kept (`kept.py` says where). Knows nothing of fills.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from palimpsest_engine.checkpoint import bpe_tokenizer
from palimpsest_engine.checkpoint import kept as copies
from palimpsest_engine.checkpoint.gguf.file import GgufFile
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer, tokenizer_in
from palimpsest_engine.checkpoint.header import floats_in
from palimpsest_engine.checkpoint.locate import read_json, runs_code, weight_files
from palimpsest_engine.checkpoint.published import Found, found_in
from palimpsest_engine.checkpoint.weights import HALF_A_STEP, Files
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint
from palimpsest_engine.model import causal
from palimpsest_engine.model.cpu_layers import exact_in_eight_bits
from palimpsest_engine.model.int8 import Rounded
from palimpsest_engine.model.quantised_linear import bytes_of, make_room
from palimpsest_engine.model.quantize import Format

SCALES, _BEGINS = ".scales", "palimpsest_bos_id"


class Tensors(Protocol):
    """The tensors of some files, by the class's names, read one at a time."""

    @property
    def names(self) -> list[str]:
        """Return all names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        ...

    def whole(self, name: str) -> Tensor:
        """Return a tensor, on the CPU."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A left-to-right model before its weights are read. source: the folder or the GGUF file. kept: the folder with its
    weights in eight bits, if they are to be read from there; `tensors` are those of that folder then. published: what its
    files say if it is a published diffusion model; `config` is that of the stock class then."""

    source: Path
    config: dict[str, Any]
    tensors: Tensors
    tokenizer: Any
    bos_id: int | None = None
    kept: Path | None = None
    published: Found | None = None

    @property
    def name(self) -> str:
        """Name the model for people: as its file or folder is named."""
        return self.source.stem if self.source.is_file() else self.source.name


def open_files(source: Path, *, int8: bool) -> Opened:
    """Open a folder or a GGUF file. int8: what was kept will do. Raises CheckpointBroken or UnsupportedCheckpoint.

    Of a published diffusion model the stock class is used; the code that its config names is never run.
    """
    found = found_in(source) if source.is_dir() else None
    if int8 and (folder := copies.kept(source, copies.eight_bits(exact_in_eight_bits()))) is not None:
        config, tokenizer = read_json(folder / "config.json"), read_tokenizer(folder / "tokenizer.json")
        tensors = Files(folder, sorted(folder.glob("*.safetensors")))
        return Opened(source, config, tensors, tokenizer, config.pop(_BEGINS), folder, found)
    if source.is_file():
        file = GgufFile(source)
        begins = (
            file.field("tokenizer.ggml.bos_token_id") if file.field("tokenizer.ggml.add_bos_token", False) else None
        )
        return Opened(source, file.config(), file, tokenizer_in(file), begins)
    if found is not None:
        floats_in(weight_files(source))
        config, tokenizer = found.stock(), bpe_tokenizer.tokenizer_in(source)
        return Opened(source, config, without_copies(source, config), tokenizer, published=found)
    config, tokenizer = read_json(source / "config.json"), bpe_tokenizer.tokenizer_in(source)
    if runs_code(config):
        raise UnsupportedCheckpoint(f"{source} wants to run code of its own (auto_map); that is never done.")
    if config.get("quantization_config"):
        raise UnsupportedCheckpoint(f"{source} is quantised; of quantised weights this engine reads GGUF only.")
    floats_in(weight_files(source))
    first = tokenizer.encode("", add_special_tokens=True).ids  # what its own post-processor puts before every text
    return Opened(source, config, Files(source, weight_files(source)), tokenizer, first[0] if first else None)


def without_copies(source: Path, config: dict[str, Any]) -> Files:
    """Return the tensors of a folder, without a head that is a copy of the embedding where the config says that it is one.

    Raises CheckpointBroken if it is another one.
    """
    files = Files(source, weight_files(source))
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if not config.get("tie_word_embeddings") or head not in files.names or embedding not in files.names:
        return files
    if not torch.equal(files.whole(head), files.whole(embedding)):
        raise CheckpointBroken(
            f"The weights in {source} have a head of their own, and its config says that there is none."
        )
    return Files(source, weight_files(source), without=lambda name: name == head)


def parameters(opened: Opened) -> int:
    """Count the parameters, each matrix as often as the files hold it."""
    return sum(math.prod(opened.tensors.shape(name)) for name in opened.tensors.names if not name.endswith(SCALES))


def needed(opened: Opened, dtype: str, *, int8: bool, format: Format | None = None) -> float:
    """Return the bytes that the weights take, with what packing and a context need. int8, format: as for `read`."""
    width = 1 if int8 else {"float32": 4, "bfloat16": 2}[dtype]
    total = width * parameters(opened)
    if format is not None:
        total = sum(bytes_of(name, opened.tensors.shape(name), format, width) for name in opened.tensors.names)
    return 1.15 * total + 2**28


def read(opened: Opened, device: str, dtype: str, *, int8: bool, format: Format | None = None) -> Any:
    """Return the model with all its weights. Raises CheckpointBroken if they do not fit.

    int8: in eight bits, on a CPU. format: of the linear maps, on any device; None for the dtype.
    """
    wanted = torch.float32 if int8 else getattr(torch, dtype)
    model = hollow(opened, wanted)
    check(model, opened)
    if format is not None:
        fill(model, opened, device, wanted, format)
        return model
    if int8 and opened.kept is None and keep(opened, causal.linears(model).keys()) is not None:
        opened = open_files(opened.source, int8=True)
    if int8:
        rounded, others = rounded_weights(model, opened)
        for name in list(others):
            causal.put(model, name, others.pop(name), device, wanted)
        causal.in_eight_bits(model, rounded)
    else:
        for name in opened.tensors.names:
            causal.put(model, name, opened.tensors.whole(name), device, wanted)
        model.tie_weights()
        model.model.rotary_emb.to(device)
    return model


def fill(model: Any, opened: Opened, device: str, dtype: torch.dtype, format: Format) -> None:
    """Fill a hollow model whose files were checked, a tensor at a time, its linear maps in a format; read one of them again.

    Raises CheckpointBroken for numbers that are not finite, or if a map is not what is in the file.
    """
    tensors, source = opened.tensors, opened.source
    maps = make_room(model, format, device)
    for name in tensors.names:
        tensor = tensors.whole(name)
        try:
            if name in maps:
                maps[name].put(tensor)
                continue
        except ValueError as error:
            raise CheckpointBroken(f"{name} in {source} cannot be quantised: {error}") from None
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointBroken(f"{name} in {source} holds numbers that are not finite.")
        causal.put(model, name, tensor, device, dtype)
    model.tie_weights()
    model.model.rotary_emb.to(device)
    one = random.choice(list(maps))
    if maps[one].off(tensors.whole(one)) > HALF_A_STEP:
        raise CheckpointBroken(f"{one} in {source} is not what was read from there; load again.")


def prepare(opened: Opened) -> bool:
    """Check a model's files and keep its weights in eight bits; return whether they could be kept."""
    model = hollow(opened, torch.float32)
    check(model, opened)
    return keep(opened, causal.linears(model).keys()) is not None


def hollow(opened: Opened, dtype: torch.dtype) -> Any:
    """Make the model that the config describes, without weights. Raises CheckpointBroken if the config describes none."""
    names = opened.tensors.names
    widest = max((max(opened.tensors.shape(name), default=0) for name in names), default=0)
    # Layers and rotary frequencies take memory even here; numbers that no weights bear out could ask for all there is.
    for key, most in {"num_hidden_layers": len(names), "head_dim": widest, "hidden_size": widest}.items():
        value = opened.config.get(key)
        if isinstance(value, int) and value > most:
            raise CheckpointBroken(f"The config in {opened.source} says {key} {value}, too large for its weights.")
    try:
        return causal.hollow(opened.config, dtype)
    except Exception as error:  # the library checks little of a config, and raises whatever goes wrong with it
        kind = opened.config["model_type"]
        raise CheckpointBroken(
            f"The config in {opened.source} is not that of a {kind} model: {shortened(error)}"
        ) from error


def shortened(error: Exception) -> str:
    """Return what an error says on one line, of at most 200 characters."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return said if len(said) <= 200 else f"{said[:199]}…"


def check(model: Any, opened: Opened) -> None:
    """Check that each tensor of the files has its place in the model, and each place its tensor."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    there = {name for name in opened.tensors.names if not name.endswith(SCALES)}
    wrong = {
        "missing": shapes.keys() - there,
        "unexpected": there - shapes.keys(),
        "mismatched": {name for name in there & shapes.keys() if opened.tensors.shape(name) != shapes[name]},
    }
    for kind, names in wrong.items():
        if names:
            raise CheckpointBroken(
                f"The weights in {opened.source} do not fit its config: {len(names)} {kind} tensors, first {min(names)}."
            )
    if opened.tokenizer.get_vocab_size() > model.config.vocab_size:
        raise CheckpointBroken(
            f"The tokenizer in {opened.source} has {opened.tokenizer.get_vocab_size()} entries, "
            f"the model {model.config.vocab_size}."
        )


def rounded_weights(model: Any, opened: Opened) -> tuple[dict[str, Rounded], dict[str, Tensor]]:
    """Return (matrices in eight bits, all other tensors): from what was kept, or rounded here."""
    matrices, tensors = causal.linears(model), opened.tensors
    rounded, others = dict[str, Rounded](), dict[str, Tensor]()
    for name in tensors.names:
        if name.endswith(SCALES):
            continue
        if name not in matrices:
            others[name] = tensors.whole(name).float().clone()  # a view would keep its whole file in memory
        elif opened.kept is not None:
            rounded[name] = Rounded(tensors.whole(name), tensors.whole(name + SCALES))
        else:
            rounded[name] = Rounded.of(tensors.whole(name))
    return rounded, others


def keep(opened: Opened, matrices: Collection[str]) -> Path | None:
    """Write the weights in eight bits where the next start finds them, whole or not at all, a layer at a time.

    matrices: names of the weights to round. Returns the folder, or None where there is no place or the disk is full.
    """
    shards: dict[str, list[str]] = {}
    for name in opened.tensors.names:
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        # The embedding is looked up where it lies, and would keep the pages of everything else in its file.
        shards.setdefault(f"layer-{int(layer[1]):04}" if layer else name, []).append(name)

    def write(scratch: Path) -> None:
        for shard, names in shards.items():
            tensors = dict[str, Tensor]()
            for name in names:
                whole = opened.tensors.whole(name)
                if name in matrices:
                    matrix = Rounded.of(whole)
                    tensors |= {name: matrix.codes, name + SCALES: matrix.scales}
                else:
                    tensors[name] = whole.float()
            save_file(tensors, scratch / f"{shard}.safetensors")
        config = opened.config | {_BEGINS: opened.bos_id}
        (scratch / "config.json").write_text(json.dumps(config), "utf-8")
        opened.tokenizer.save(str(scratch / "tokenizer.json"))

    return copies.keep(opened.source, copies.eight_bits(exact_in_eight_bits()), write)
