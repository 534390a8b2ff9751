"""Draw training rows from code and compute their losses: all canvases of a row in one packed pass where the model allows
it, else one canvas at a time with the class's own forward.

A pass goes through the model's modules, so it does not matter whether there are LoRA matrices in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.model.cpu_layers import make_lean
from palimpsest_engine.model.forward import causal_masks, head, soft_embeddings
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.layers import run_decoder, run_encoder
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import Hole, Keep
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Span
from palimpsest_train import tokenizer as embedded
from palimpsest_train.data import Rows, RowShape
from palimpsest_train.losses import cross_entropy, picked, tensors
from palimpsest_train.model import packed_forward
from palimpsest_tune.code import Split

Losses = tuple[Tensor, Tensor]
LONGEST_CONTEXT = (
    2_048  # of a row for the class's own forward: what a large checkpoint sees, within what training can hold
)


class Pass(Protocol):
    """The way to compute losses for one checkpoint."""

    def rows(self, split: Split, seed: int) -> Any:
        """Return a seeded source of batches: `batch(n)`."""
        ...

    def parts(self, batch: Any) -> Sequence[Any]:
        """Return a batch in equal parts that are small enough to be taken through the model one after the other."""
        ...

    def losses(self, batch: Any, temperature: float | None) -> Losses:
        """Return (causal, diffusion) mean cross-entropy in nats a token. temperature: of the self-conditioning; None for
        none."""
        ...


def pass_for(checkpoint: Checkpoint) -> Pass:
    """Choose the packed pass for a model of one expert whose windows span its context, trained by this project; else the
    class's."""
    spec, text = checkpoint.spec, checkpoint.model.config.get_text_config()
    if spec.left_to_right:
        raise UnsupportedCheckpoint(f"{spec.name} was trained left to right, for comparison only; it cannot be tuned.")
    ids = (spec.bos_id, spec.suffix_id, spec.prefix_id, spec.filler)
    ours = ids == (embedded.BOS, embedded.SUFFIX, embedded.PREFIX, embedded.FILLER)
    if spec.dialect == "fim" and ours and text.num_experts == 1 and text.sliding_window >= spec.context + spec.canvas:
        return Packed(checkpoint)
    return Apart(checkpoint)


class Packed:
    """The trainer's rows and its packed pass."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model, self.tokenizer, spec = checkpoint.model, checkpoint.tokenizer, checkpoint.spec
        make_lean(self.model, trainable=True)
        longest = max(spec.hole_sizes)
        self.shape = RowShape(
            context=spec.context, canvas=spec.canvas, losses=max(16, longest // 2), sizes=tuple(sorted(spec.hole_sizes))
        )

    def rows(self, split: Split, seed: int) -> Rows:
        """Return batches of rows as the trainer draws them."""
        return Rows(split.tokens, split.starts, self.tokenizer, self.shape, seed)

    def parts(self, batch: Any) -> Sequence[Any]:
        """Return the whole batch: these models are small."""
        return [batch]

    def hidden(self, batch: dict[str, Tensor], soft: Tensor) -> Tensor:
        """Return the last hidden states of contexts and canvases, end to end."""
        return packed_forward(self.model, batch["context"], batch["noised"], batch["positions"], batch["starts"], soft)

    def losses(self, batch: Any, temperature: float | None) -> Losses:
        """Compute as in `Pass`."""
        at = tensors(batch, str(self.model.device))
        context = self.shape.context
        embed = self.model.model.decoder.embed_tokens
        soft = torch.zeros(*at["noised"].shape, embed.embedding_dim, device=self.model.device, dtype=embed.weight.dtype)
        if temperature is not None:
            with torch.no_grad():
                chances = torch.softmax(head(self.model, self.hidden(at, soft)[:, context:]) / temperature, dim=-1)
                soft = torch.where(at["is_hole"][..., None], soft_embeddings(embed, chances), embed(at["clean"]))
        hidden = self.hidden(at, soft)
        targets = at["targets"]
        known = targets >= 0
        causal = cross_entropy(self.model, hidden[:, :context][known], targets[known])
        states, truth, weight = picked(hidden[:, context:], at)
        counted = weight > 0
        return causal, cross_entropy(self.model, states[counted], truth[counted], weight[counted])


@dataclass(frozen=True, slots=True)
class Question:
    """One hole as the engine would ask for it: context ids, canvas ids, the same with noise in the hole, and the weight in
    the loss of each hole position, which come first in the canvas."""

    context: list[int]
    clean: list[int]
    noised: list[int]
    weight: list[float]


class Questions:
    """Seeded source of holes in documents, each laid out by the engine's own rules."""

    def __init__(self, checkpoint: Checkpoint, split: Split, seed: int) -> None:
        spec = checkpoint.spec
        context = min(spec.context, LONGEST_CONTEXT)
        self.spec = replace(spec, context=context, suffix=min(spec.suffix, context // 4))
        self.tokens = Tokens(checkpoint.tokenizer, checkpoint.model.config.get_text_config().vocab_size)
        self.split = split
        self.rng = np.random.default_rng(seed)
        lengths = np.diff(split.starts)
        self.shares = lengths / lengths.sum()

    def batch(self, count: int) -> list[Question]:
        """Return so many questions."""
        return [self.question() for _ in range(count)]

    def question(self) -> Question:
        """Draw a document by its length, and a hole in it."""
        rng, spec = self.rng, self.spec
        source = self.split.sources[int(rng.choice(len(self.shares), p=self.shares))]
        text = source.text.replace("\r\n", "\n")
        start, end = self.hole(text)
        pieces = (Keep(text[:start]), Hole(Span(start, end), ""), Keep(text[end:]))
        layout = lay_out(pieces, spec, self.tokens, source.language)
        middle = self.tokens.encode(layout.healed + text[start:end])
        most = min(spec.canvas - 1, 2 * max(spec.hole_sizes))
        middle = middle[:most]
        spare = 0
        if spec.filler is not None:
            spare = next((size for size in sorted(spec.hole_sizes) if size >= len(middle)), len(middle)) - len(middle)
        hole = [*middle, *[spec.filler or 0] * spare]
        # All filler of a hole weighs like one token, or "write nothing" is what is learnt.
        weight = [1.0] * len(middle) + [1.0 / spare] * spare if spare else [1.0] * len(middle)
        length = min(spec.canvas, len(hole) + spec.pins)
        right = [*layout.right, *[layout.end] * length] if len(middle) < most else []
        clean = [*hole, *right][:length]
        share = 1.0 if rng.random() < 0.15 else float(rng.uniform(0.001, 1.0))
        hit = rng.random(len(hole)) < share
        noise = rng.integers(0, self.tokens.tokenizer.get_vocab_size(), len(hole)).tolist()
        noised = [n if h else c for c, n, h in zip(hole, noise, hit, strict=True)]
        return Question(list(layout.context), clean, [*noised, *clean[len(hole) :]], weight[:length])

    def hole(self, text: str) -> tuple[int, int]:
        """Draw [start, end) in a text: a stretch of a line, the rest of a line, a whole line, or up to four of them."""
        rng = self.rng
        lines = text.splitlines(keepends=True)
        first = int(rng.choice([i for i, line in enumerate(lines) if line.strip()]))
        before = sum(map(len, lines[:first]))
        body = lines[first].rstrip()
        indent = len(body) - len(body.lstrip())
        kind = rng.random()
        if kind < 0.25:
            start = int(rng.integers(indent, len(body)))
            return before + start, before + min(len(body), start + 1 + int(rng.geometric(0.1)))
        if kind < 0.55:
            return before + int(rng.integers(indent, len(body))), before + len(body)
        last = first if kind < 0.85 else min(len(lines) - 1, first + int(rng.integers(1, 4)))
        return before + indent, before + sum(map(len, lines[first:last])) + len(lines[last].rstrip())


class Apart:
    """The class's own encoder, then its decoder, a row at a time: for every checkpoint, the 26B included."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.model = checkpoint, checkpoint.model

    def rows(self, split: Split, seed: int) -> Questions:
        """Return batches of holes as the engine lays them out."""
        return Questions(self.checkpoint, split, seed)

    def parts(self, batch: Sequence[Question]) -> Sequence[Sequence[Question]]:
        """Return the rows one by one: what a large model keeps for a backward pass is much."""
        return [[question] for question in batch]

    def losses(self, batch: Sequence[Question], temperature: float | None) -> Losses:
        """Compute as in `Pass`; the mean over the rows."""
        pairs = [self.row(question, temperature) for question in batch]
        return torch.stack([c for c, _ in pairs]).mean(), torch.stack([d for _, d in pairs]).mean()

    def row(self, question: Question, temperature: float | None) -> Losses:
        """Return (causal, diffusion) of one question."""
        device = self.model.device
        context = torch.tensor([question.context], device=device)
        clean = torch.tensor([question.clean], device=device)
        noised = torch.tensor([question.noised], device=device)
        holes = len(question.weight)
        cache = RollbackCache.for_config(self.model.config.get_text_config())
        positions = torch.arange(context.shape[1], device=device)
        masks = causal_masks(self.model.config.get_text_config(), cache, positions)
        encoded = run_encoder(self.model, context, cache, positions[None], masks)

        def decoded(conditioning: Tensor | None) -> Tensor:
            behind = positions[-1] + 1 + torch.arange(clean.shape[1], device=device)[None]
            return run_decoder(self.model, noised, cache, behind, conditioning)

        conditioning = None
        if temperature is not None:
            with torch.no_grad():
                conditioning = head(self.model, decoded(None)) / temperature
                pinned = torch.full_like(conditioning[:, holes:], -1e4).scatter(2, clean[:, holes:, None], 0.0)
                conditioning = torch.cat((conditioning[:, :holes], pinned), dim=1).to(encoded.dtype)
        hidden = decoded(conditioning)
        weight = torch.tensor(question.weight, device=device)
        return (
            cross_entropy(self.model, encoded[0, :-1], context[0, 1:]),
            cross_entropy(self.model, hidden[0, :holes], clean[0, :holes], weight),
        )
