"""The work of the commands: open a kit, train and evaluate, or measure a machine. Prints nothing itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from palimpsest_train.denoiser import texts
from palimpsest_train.denoiser.adapter import load
from palimpsest_train.denoiser.base import Base, Shape, random_base, read_base
from palimpsest_train.denoiser.evaluate import Evaluation, held_out, read_problems
from palimpsest_train.denoiser.feed import Feed
from palimpsest_train.denoiser.fill import Filler
from palimpsest_train.denoiser.network import Adapter, Network
from palimpsest_train.denoiser.recipe import Recipe
from palimpsest_train.denoiser.rows import Batch, Rows
from palimpsest_train.denoiser.tokens import Vocabulary, read_tokenizer
from palimpsest_train.denoiser.train import Length, Log, Trainer, memory
from palimpsest_train.errors import TrainingError

QWEN_05B = Shape(layers=24, hidden=896, heads=14, kv_heads=2, head=64, mlp=4864)
TINY = Shape(layers=2, hidden=64, heads=4, kv_heads=2, head=16, mlp=96)
HELD_OUT_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Kit:
    """A folder with `base.safetensors`, `tokenizer.json`, `ids.safetensors`, `train.safetensors`, `held_out.safetensors` and
    `problems-NAME.jsonl.gz`. random: a shape to draw an untrained base of, instead of reading the file."""

    folder: Path
    random: Shape | None = None

    def vocabulary(self) -> Vocabulary:
        """Return the ids of the kit, without reading its weights."""
        tokenizer = read_tokenizer(self.folder / "tokenizer.json")
        try:
            with safe_open(self.folder / "ids.safetensors", "np") as file:
                return Vocabulary(file.get_tensor("ids"), tokenizer, int((file.metadata() or {})["mask"]))
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(f"{self.folder} is no kit: {error}.") from error

    def base(self, vocabulary: Vocabulary, device: str, dtype: torch.dtype) -> Base:
        """Return the weights, on the device."""
        mask = int(vocabulary.ids[vocabulary.special.mask])
        if self.random is not None:
            return random_base(self.random, vocabulary.ids, mask, device, dtype)
        base = read_base(self.folder / "base.safetensors", device, dtype)
        if not np.array_equal(base.ids, vocabulary.ids) or base.mask != mask:
            raise TrainingError(f"The ids of {self.folder} are not those of its base; make the kit again.")
        return base


def ready(device: str) -> tuple[str, torch.dtype]:
    """Return (device, dtype of the weights) for "auto", "cuda" or "cpu". The device is used from here on."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        # The kernel for an arbitrary bias is the memory-efficient one; cuDNN's is younger, and is not needed.
        torch.backends.cuda.enable_cudnn_sdp(False)
        torch.backends.cuda.matmul.allow_tf32 = True
        return device, torch.bfloat16
    return device, torch.float32


def train(
    kit: Kit,
    out: Path,
    recipe: Recipe,
    length: Length,
    device: str,
    workers: int,
    evaluate_seconds: float,
    compiled: bool = False,
    most: int | None = None,
) -> None:
    """Train an adapter for the kit's base, save it under out, and evaluate it for so many seconds.

    most: problems of each file. Rows are drawn in processes that are forked before the device is used.
    """
    began = time.monotonic()
    log = Log(out / "metrics.jsonl")
    vocabulary = kit.vocabulary()
    held = held_out_batches(kit, vocabulary, recipe)
    with Feed(kit.folder / "train.safetensors", vocabulary, recipe, workers) as feed:
        device, dtype = ready(device)
        base = kit.base(vocabulary, device, dtype)
        network = Network(base)
        adapter = Adapter(base, recipe.rank, recipe.alpha, vocabulary.special.filler, recipe.seed).to(device)
        log.row(loaded=round(time.monotonic() - began, 2), memory=memory(network.device), device=described(device))
        # Only training has one shape; what is evaluated has many, and each would be compiled anew.
        trainer = Trainer(Network(base, compiled), adapter, recipe, out, log)
        log.row(held_out="before", **held_out(network, adapter, recipe, held[:1]))
        trainer.train(feed, length)
    evaluate(network, adapter, vocabulary, trainer.recipe, kit, out, log, evaluate_seconds, held, most)


def evaluate(
    network: Network,
    adapter: Adapter,
    vocabulary: Vocabulary,
    recipe: Recipe,
    kit: Kit,
    out: Path,
    log: Log,
    seconds: float,
    held: Iterable[Batch],
    most: int | None,
    steps: int = 8,
    confident: float = 0.9,
) -> None:
    """Measure the adapter, and write the figures."""
    deadline = time.monotonic() + seconds
    if seconds > 0:
        log.row(held_out="after", **held_out(network, adapter, recipe, list(held)))
    if seconds > 0 and recipe.noise == "mask":  # holes of uniform noise need another way of filling
        filler = Filler(network, adapter, vocabulary, recipe.pins[1], recipe.suffix, 512)
        at_once = 128 if network.device.type == "cuda" else 8
        evaluation = Evaluation(filler, out, log, deadline, at_once)
        for path in sorted(kit.folder.glob("problems-*.jsonl.gz")):
            name = path.name.removeprefix("problems-").removesuffix(".jsonl.gz")
            evaluation.run(name, read_problems(path)[:most], steps, confident)


def evaluate_again(kit: Kit, adapter_folder: Path, out: Path, device: str, seconds: float, most: int | None) -> None:
    """Evaluate a saved adapter."""
    log = Log(out / "metrics.jsonl")
    vocabulary = kit.vocabulary()
    device, dtype = ready(device)
    base = kit.base(vocabulary, device, dtype)
    adapter, note = load(adapter_folder, base)
    table: dict[str, Any] = note["recipe"]
    recipe = Recipe(**(table | {"pins": tuple(table["pins"])}))
    if device == "cpu":
        recipe = replace(recipe, rows=4, at_once=4)
    held = held_out_batches(kit, vocabulary, recipe)
    evaluate(Network(base), adapter, vocabulary, recipe, kit, out, log, seconds, held, most)


def probe(
    kit: Kit, out: Path, recipe: Recipe, device: str, workers: int, steps: int = 6, compiled: bool = False
) -> None:
    """Measure what training will do on this machine, with the kit's texts and untrained weights of the kit's shape."""
    log = Log(out / "probe.jsonl")
    began = time.monotonic()
    vocabulary = kit.vocabulary()
    with Feed(kit.folder / "train.safetensors", vocabulary, recipe, workers) as feed:
        feed.grow(64)
        device, dtype = ready(device)
        log.row(device=described(device), torch=torch.__version__, seconds=round(time.monotonic() - began, 1))
        agree(vocabulary, kit, recipe, device, dtype, log)
        base = kit.base(vocabulary, device, dtype)
        adapter = Adapter(base, recipe.rank, recipe.alpha, vocabulary.special.filler).to(device)
        trainer = Trainer(Network(base, compiled), adapter, recipe, out, log)
        batches = iter(feed)
        for step in range(steps):
            asked = time.monotonic()
            batch = next(batches)
            drawn = time.monotonic()
            norm = trainer.step(batch, 0.5)
            seconds = time.monotonic() - drawn
            positions = recipe.rows * (recipe.context + recipe.canvas)
            log.row(
                step=step,
                waited=round(drawn - asked, 3),
                seconds=round(seconds, 3),
                rows_per_second=round(recipe.rows / seconds, 1),
                positions_per_second=round(positions / seconds),
                norm=round(norm, 4),
                at_once=trainer.recipe.at_once,
                memory=memory(trainer.network.device),
            )
        log.row(counts=trainer.counts.read())


def agree(vocabulary: Vocabulary, kit: Kit, recipe: Recipe, device: str, dtype: torch.dtype, log: Log) -> None:
    """Compare the gradient of a tiny model on the device with a CPU's in float32, and log how far they are apart."""
    small = replace(recipe, rows=2, at_once=2)
    batch = Rows(texts.read(kit.folder / "held_out.safetensors"), vocabulary, small, 0).batch(2)
    gradients = []
    for where, kind in (("cpu", torch.float32), (device, dtype)):
        mask = int(vocabulary.ids[vocabulary.special.mask])
        base = random_base(TINY, vocabulary.ids, mask, "cpu", torch.float32)
        base = moved(base, where, kind)
        adapter = Adapter(base, 4, 8.0, vocabulary.special.filler).to(where)
        with torch.no_grad():
            for name, parameter in adapter.pairs.items():
                if name.endswith("-up"):
                    parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
        trainer = Trainer(Network(base), adapter, small, Path(), log)
        trainer.gradient(batch)
        flat = [p.grad.float().cpu().reshape(-1) for p in adapter.matrices() if p.grad is not None]
        gradients.append(torch.cat(flat))
    first, second = gradients
    cosine = torch.nn.functional.cosine_similarity(first, second, 0)
    log.row(agrees=round(float(cosine), 5), norms=[round(float(g.norm()), 5) for g in gradients])


def moved(base: Base, device: str, dtype: torch.dtype) -> Base:
    """Return the base, moved to a device."""
    layers = [
        replace(layer, **{n: getattr(layer, n).to(device, dtype) for n in layer.__slots__}) for layer in base.layers
    ]
    norm, embed, unembed = (t.to(device, dtype) for t in (base.norm, base.embed, base.unembed))
    return replace(base, layers=layers, norm=norm, embed=embed, unembed=unembed)


def held_out_batches(kit: Kit, vocabulary: Vocabulary, recipe: Recipe) -> list[Batch]:
    """Draw the same rows of held-out documents each time."""
    rows = Rows(texts.read(kit.folder / "held_out.safetensors"), vocabulary, recipe, 1)
    return [rows.batch(recipe.rows) for _ in range(HELD_OUT_BATCHES)]


def described(device: str) -> str:
    """Describe the device in words."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
