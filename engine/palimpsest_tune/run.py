"""Run one tuning from a loaded checkpoint to an adapter's folder: measure, train, measure what would be served, write.

The caller draws progress and may stop between steps; what there is then is measured and written all the same.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from palimpsest_engine import __version__
from palimpsest_engine.checkpoint.adapter import FORMAT, NOTE_FILE, WEIGHTS_FILE, fingerprint, merge, read_adapter
from palimpsest_engine.checkpoint.header import digest
from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.checkpoint.locate import weight_files
from palimpsest_engine.errors import OutOfMemory, PalimpsestError
from palimpsest_tune import lora
from palimpsest_tune.code import Code
from palimpsest_tune.measure import Measured, exact_lines, gain, held_out_losses, lines_of
from palimpsest_tune.passes import Apart, pass_for

DIFFUSION_WEIGHT = 2.0  # the causal loss falls faster; it is the canvases that write
SELF_CONDITIONING = 0.5
WARMUP = 10  # steps
COOLDOWN = 0.5  # share of the run
CERTAIN = 2.0  # standard errors


@dataclass(frozen=True, slots=True)
class Recipe:
    """minutes: how long to train, measuring aside; steps: how many steps instead, which makes a run repeatable.
    rows a step; rank of the matrices; lines: held-out lines filled before and after, 0 for none. With the same seed and
    the same number of steps the same machine makes the same adapter."""

    minutes: float = 5.0
    steps: int | None = None
    rows: int = 4
    rank: int = 16
    learning_rate: float = 2e-3
    seed: int = 0
    lines: int = 40
    held_out_rows: int = 96


@dataclass(frozen=True, slots=True)
class Progress:
    """The state after a step: the number of steps, the seconds they took, the share of the run that is done, this step's
    losses."""

    step: int
    seconds: float
    share: float
    causal: float
    diffusion: float


@dataclass(frozen=True, slots=True)
class Result:
    """before, after: on the held-out files. fell: (mean, standard error) of what causal + diffusion loss fell by."""

    before: Measured
    after: Measured
    fell: tuple[float, float]

    @property
    def helped(self) -> bool:
        """Return whether the loss on files that were not trained on fell by more than chance explains."""
        return self.fell[0] > CERTAIN * self.fell[1] and self.fell[0] > 0


class Tuning:
    """A checkpoint being tuned: `measure`, then `train` to its end or until you stop asking, then `finish`."""

    def __init__(self, checkpoint: Checkpoint, code: Code, recipe: Recipe) -> None:
        self.checkpoint, self.code, self.recipe = checkpoint, code, recipe
        self.model = checkpoint.model
        self.at = pass_for(checkpoint)
        self.rows = self.at.rows(code.train, recipe.seed)
        held_out = self.at.rows(code.held_out, recipe.seed + 1)
        self.batches = [held_out.batch(4) for _ in range(max(2, recipe.held_out_rows // 4))]
        self.cases = lines_of(code.held_out.sources, recipe.lines, recipe.seed)
        self.draws = torch.Generator().manual_seed(recipe.seed)
        self.step, self.seconds = 0, 0.0

    def measure(self) -> Measured:
        """Measure the model as it is now, on the held-out files; the same rows and lines every time."""
        pairs = held_out_losses(self.at.losses, self.batches)
        causal, diffusion = tuple(c for c, _ in pairs), tuple(d for _, d in pairs)
        exact = exact_lines(self.checkpoint, self.cases, self.recipe.seed)
        return Measured(
            sum(causal) / len(causal), sum(diffusion) / len(diffusion), causal, diffusion, exact, len(self.cases)
        )

    def train(self, folder: Path) -> Generator[Progress, None, None]:
        """Take one step after the other until the time, or the number of steps, is up; if closed at any point, the matrices
        as they are then are written to the folder, and the model is what it was.

        Raises PalimpsestError if the losses are no numbers any more.
        """
        recipe = self.recipe
        tuned = lora.wrapped(self.model, recipe.rank, recipe.seed)
        matrices = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(matrices, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        with ExitStack() as undo:
            undo.callback(tuned.unload)
            undo.callback(lora.save, tuned, folder, self.checkpoint.spec.name)
            if isinstance(self.at, Apart):
                undo.enter_context(lora.shared(self.model))
            begun = time.perf_counter()
            while (share := self.share()) < 1.0:
                causal, diffusion = self.backward()
                if not math.isfinite(causal + diffusion):
                    raise PalimpsestError(
                        f"The losses were no numbers any more at step {self.step + 1}; nothing is written. "
                        f"Try a smaller --learning-rate than {recipe.learning_rate}."
                    )
                torch.nn.utils.clip_grad_norm_(matrices, 1.0)
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * min((self.step + 1) / WARMUP, 1.0, (1.0 - share) / COOLDOWN)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                self.step += 1
                self.seconds = time.perf_counter() - begun
                yield Progress(self.step, self.seconds, min(1.0, self.share()), causal, diffusion)

    def backward(self) -> tuple[float, float]:
        """Compute the gradients of the next batch, half of the time with self-conditioning; its (causal, diffusion) loss.

        Raises OutOfMemory.
        """
        draw = torch.rand(2, generator=self.draws).tolist()
        temperature = 0.5 + 0.5 * draw[1] if draw[0] < SELF_CONDITIONING else None
        parts = self.at.parts(self.rows.batch(self.recipe.rows))
        sums = [0.0, 0.0]
        try:
            for part in parts:
                causal, diffusion = self.at.losses(part, temperature)
                torch.autograd.backward((causal + DIFFUSION_WEIGHT * diffusion) / len(parts))
                sums = [sums[0] + float(causal.detach()), sums[1] + float(diffusion.detach())]
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"{self.checkpoint.device} ran out of memory in training; nothing is written. Try a smaller --rows or --rank."
            ) from error
        return sums[0] / len(parts), sums[1] / len(parts)

    def share(self) -> float:
        """Return the share of the run that is done, from 0; past 1 it is over."""
        recipe = self.recipe
        return self.step / recipe.steps if recipe.steps is not None else self.seconds / (60 * recipe.minutes)

    def finish(self, folder: Path, before: Measured) -> Result:
        """Add what `train` has written to the model as the engine will, measure that, and write the note."""
        spec, files = self.checkpoint.spec, weight_files(self.checkpoint.folder)
        train, held_out, recipe = self.code.train, self.code.held_out, self.recipe
        note = {
            "format": FORMAT,
            "version": __version__,
            "base": {"name": spec.name, "sha256": fingerprint(self.checkpoint.folder, spec, files)},
            "sha256": digest(folder / WEIGHTS_FILE),
            "trained_on": {
                "files": len(train.sources),
                "tokens": len(train.tokens),
                "languages": dict(sorted(Counter(source.language for source in train.sources).items())),
            },
            "held_out": {"files": len(held_out.sources), "tokens": len(held_out.tokens)},
            "recipe": {
                "steps": self.step,
                "rows": recipe.rows,
                "rank": recipe.rank,
                "learning_rate": recipe.learning_rate,
                "seed": recipe.seed,
                "seconds": round(self.seconds, 1),
            },
            "before": before.said(),
        }
        write_note(folder, note)
        merge(self.model, read_adapter(str(folder), self.checkpoint.folder, spec, files))
        after = self.measure()
        write_note(folder, {**note, "after": after.said()})
        fell = gain(
            [c + d for c, d in zip(before.causal_by_batch, before.diffusion_by_batch, strict=True)],
            [c + d for c, d in zip(after.causal_by_batch, after.diffusion_by_batch, strict=True)],
        )
        return Result(before, after, fell)


def write_note(folder: Path, note: dict[str, object]) -> None:
    """Write `palimpsest-adapter.json`."""
    (folder / NOTE_FILE).write_text(json.dumps(note, indent=1) + "\n", "utf-8")


def check_out(out: Path) -> None:
    """Raise PalimpsestError unless an adapter may be written there: nothing is there, or an adapter, or an empty folder."""
    if out.is_dir() and ((out / NOTE_FILE).is_file() or not any(out.iterdir())):
        return
    if os.path.lexists(out):
        raise PalimpsestError(f"{out} exists and is not an adapter; name another place with --out.")


@contextmanager
def room_beside(out: Path) -> Iterator[Path]:
    """Make an empty folder on the same disk, gone afterwards unless `put` took it. Raises OSError if there can be none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(folder: Path, out: Path) -> None:
    """Replace `out` with the finished folder; if that fails, the old one stays."""
    check_out(out)
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        if out.is_dir():
            os.replace(out, old / "old")
        try:
            os.replace(folder, out)
        except OSError:
            if (old / "old").is_dir():
                os.replace(old / "old", out)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
