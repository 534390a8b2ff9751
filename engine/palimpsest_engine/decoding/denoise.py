"""Denoise a canvas: one decoder pass a step, a draft a step. Knows tensors; policy belongs to its callers.

With nothing pinned it draws the same random numbers in the same order as transformers' stock `generate()` and ends in
the same tokens. The sampler is the entropy-bound one of arXiv 2505.24857 as that library parameterises it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.spec import Denoising, Sampling
from palimpsest_engine.cuda.backend import Prefix
from palimpsest_engine.decoding.canvas_state import Canvas, State
from palimpsest_engine.decoding.sampler import Draw, Sampled, likeliest, sample
from palimpsest_engine.model.forward import canvas_head, decode

__all__ = ["STOCK", "Canvas", "Step", "accept", "denoise"]

STOCK = Denoising()


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one denoising step, in main memory: the draft `tokens [B, T]` (the likeliest, and what was accepted for
    good), the positions that the sampler has `accepted [B, T]`, the entropy of every position in nats `[B, T]`, the rows that
    have `finished [B]`. holes: where they are now, if slots have become more or fewer. likely `[B, T, K, 2]`: the likeliest
    ids and their probabilities, of each position when it was last decided on, and is_hole `[B, T]`, if they are wanted."""

    number: int
    tokens: Tensor
    accepted: Tensor
    entropy: Tensor
    finished: Tensor
    holes: tuple[range, ...] | None = None
    likely: Tensor | None = None
    is_hole: Tensor | None = None


@torch.inference_mode()
def denoise(
    model: Any,
    cache: Prefix,
    canvas: Canvas,
    sampling: Sampling,
    generator: torch.Generator,
    draw: Draw,
    how: Denoising = STOCK,
    choices: int = 0,
) -> Generator[Step, Sequence[int] | None, None]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without anything to decide yields nothing. To stop between steps, do not ask for the next. Send row numbers to go
    on with those rows alone, in ascending order (all rows must share their prefix). draw: the way to draw tokens: `as_stock`,
    or `drawn`, which is as random and needs one random number a position instead of one a token. how: the model's way, see
    `Denoising`. choices: so many of the likeliest tokens of each position are in the steps. Logits exist for the N open
    positions of all rows only, those that a step decides on; `[N, V]` below.
    """
    if not bool(canvas.is_hole.any()):
        return
    at = State.begin(canvas, model.config.get_text_config().vocab_size, sampling, generator, how)
    if not at.where.numel():
        return
    past, head = cache.get_seq_length() - canvas.overlap, canvas_head(model)
    for number in range(1, sampling.max_steps + 1):
        positions = torch.arange(
            past, past + at.tokens.shape[1], dtype=torch.int32, device=canvas.tokens.device
        ).unsqueeze(0)
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        hidden = decode(model, cache, at.current, at.where, at.chances, positions, at.used)
        # 2. Sample, and take the argmax for the draft.
        sampled = sample(
            head(hidden.flatten(0, 1)[at.read_from]),
            cap=model.final_logit_softcapping,
            temperature=temperature,
            top_p=sampling.top_p,
            forbidden=at.barred(),
            which=at.which,
            draw=draw,
            generator=generator,
            dtype=hidden.dtype if how.conditioned else torch.float32,
        )
        chances, argmax = sampled.chances, at.on_canvas(sampled.argmax)
        if choices:
            at.note(likeliest(sampled, choices))
        # 3. Accept the most certain positions. Pins, and what was accepted for good, have no entropy.
        entropy = at.on_canvas(sampled.entropy, at.entropy)
        accepted = accept(at, sampled, entropy, sampling, number)
        # 4. Renoise the rest; pins are imposed again.
        drawn = at.on_canvas(sampled.drawn)
        if how.keeps:
            had = accepted & (at.current != how.mask_id)
            drawn, entropy = torch.where(had, at.current, drawn), torch.where(had, at.entropy, entropy)
        decided = torch.where(accepted, drawn, at.noise())
        following = torch.where(at.open, decided, at.current)
        # 5. A finished row stays as it was.
        if at.some_finished:
            done = at.finished[:, None]
            argmax, following = torch.where(done, at.draft, argmax), torch.where(done, at.current, following)
            entropy = torch.where(done, at.entropy, entropy)
            if at.chances is not None:
                chances = torch.where(at.of_open(at.finished)[:, None], at.chances, chances)
        # 6. Stop test, over hole positions only.
        if not how.lasts:
            stable = unchanged(at.history, argmax, sampling.stability)
            confident = entropy.sum(-1) / at.is_hole.sum(-1).clamp_min(1) < sampling.confidence
            at.finished = at.finished | (stable & confident)
            if sampling.still is not None:
                at.finished = at.finished | unchanged(at.history, argmax, sampling.still)
            at.history = torch.cat((at.history, argmax[None]))[1:] if sampling.remembered else at.history
        else:
            argmax = torch.where(at.open & accepted, following, argmax)
            at.finished = at.finished | accepted.all(-1)
        at.current, at.draft, at.entropy = following, argmax, entropy
        at.chances = chances if how.conditioned else None
        if not how.revises:
            accepted = at.settle(accepted)
        more = () if at.likely is None else (at.likely, at.is_hole)
        shown = on_host(at.draft, accepted | at.finished[:, None], at.entropy, at.finished, *more)
        step = Step(number, shown[0], shown[1], shown[2], shown[3], at.holes, *shown[4:])
        keep = yield step
        finished = step.finished
        if keep is not None:
            at.narrow(keep)
            cache = cache.narrowed(len(keep))
            finished = finished[sorted(keep)]
        at.some_finished = bool(finished.any())
        if bool(finished.all()):
            return


def accept(at: State, sampled: Sampled, entropy: Tensor, sampling: Sampling, number: int) -> Tensor:
    """Return `[B, T]`: True where a step keeps what it has drawn, by the rules of `Sampling`; and at all positions that are
    not open."""
    accepted = ~at.open
    if sampling.entropy_bound is not None:
        accepted = accepted | within_bound(torch.where(at.open, entropy, 0.0), sampling.entropy_bound)
    if sampling.threshold is not None:
        probability = sampled.chances.gather(1, sampled.drawn[:, None])[:, 0]
        accepted = accepted | at.on_canvas(probability > sampling.threshold, accepted)
    if sampling.linear_to is not None or sampling.each is not None:
        unsure = at.on_canvas(-sampled.certainty(sampling.by), torch.full_like(entropy, torch.inf))
        rank = unsure.argsort(dim=-1, stable=True).argsort(dim=-1)
        if sampling.linear_to is not None:
            accepted = accepted | (rank < planned(at.open.sum(-1, keepdim=True), sampling, number, at.how))
        if sampling.each is not None:
            accepted = accepted | (rank < sampling.each)
    return accepted


def unchanged(history: Tensor, argmax: Tensor, steps: int) -> Tensor:
    """Return `[B]`: True for rows of `argmax [B, T]` that are those of the last so many of `history [S, B, T]`."""
    return (history[len(history) - steps :] == argmax).all(-1).all(0)


def planned(left: Tensor, sampling: Sampling, number: int, how: Denoising) -> Tensor:
    """Return how many of `left [B, 1]` open slots a step accepts at least as the share of noise falls evenly.

    Rounding decides at times, so it is that of published samplers, which count in single precision. A model that revises
    decides on all slots in each step, and the noise that it leaves is rounded down, not what it accepts.
    """
    if number == sampling.max_steps:
        return left
    precision = torch.float32 if sampling.linear_to else torch.float64
    noise = torch.linspace(1.0, sampling.linear_to or 0.0, sampling.max_steps + 1, dtype=precision)
    if how.revises:
        return left - (left * float(noise[number])).floor().long()
    return (left * float(1.0 - noise[number] / noise[number - 1])).long()


def on_host(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring tensors to main memory by one transfer: the only time that a step waits for a GPU. Ids and float32 pass through
    float64 unchanged."""
    if tensors[0].device.type == "cpu":
        return tensors
    together = torch.cat([each.to(torch.float64).flatten() for each in tensors]).cpu()
    parts = torch.split(together, [each.numel() for each in tensors])
    return tuple(part.to(each.dtype).view(each.shape) for part, each in zip(parts, tensors, strict=True))


def within_bound(entropy: Tensor, bound: float) -> Tensor:
    """Return `[B, T]`: True for the positions of lowest entropy; their sum, without the largest, is within the bound."""
    ordered, order = torch.sort(entropy, dim=-1)
    chosen = torch.cumsum(ordered, dim=-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)
