"""Plain samplers that follow the published rules of open diffusion coders, one row and one step at a time.

They are what the engine's loop is held against, so they are written to be read, not to be fast. Each takes a function that
gives the logits `[1, T, V]` of ids `[1, T]`, and yields the ids after every step. At temperature 0 nothing is random.
What the authors compute in single precision is computed so here, as rounding decides how many slots a step accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]
By = Literal["entropy", "probability", "margin"]


def shifted(logits: Tensor) -> Tensor:
    """Let each slot be read from the position before it; the first has none, and keeps its own."""
    return torch.cat((logits[:, :1], logits[:, :-1]), 1)


def cut(logits: Tensor, top_p: float | None) -> Tensor:
    """Keep the likeliest tokens `[N, V]` until they have more than top_p of the probability, the one that passes it, too."""
    if top_p is None or top_p >= 1:
        return logits
    ordered, order = logits.sort(-1, descending=True)
    share = ordered.softmax(-1)
    gone = share.cumsum(-1) > top_p
    gone = torch.cat((torch.zeros_like(gone[:, :1]), gone[:, :-1]), 1)
    return logits.masked_fill(torch.zeros_like(gone).scatter(-1, order, gone), torch.finfo(logits.dtype).min)


def chosen(chances: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Draw a token for each row of `[N, V]`; at temperature 0 take the likeliest."""
    if temperature == 0:
        return chances.argmax(-1)
    return torch.multinomial(chances, 1, generator=generator).squeeze(-1)


def candidates(
    logits: Tensor, temperature: float, top_p: float | None, by: By, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return (tokens, certainties) for slots `[N, V]`. Certainty is that of the distribution that tokens are drawn from.

    Dream's `sample_tokens` (HKUNLP/Dream and DreamLM/Dream-Coder, generation_utils.py) and its copies in DreamLM/DreamOn
    (eval/generator.py) and pengzhangzhi/Open-dLLM (qwen2/generation_utils.py).
    """
    chances = cut(logits / temperature if temperature > 0 else logits, top_p).softmax(-1)
    tokens = chosen(chances, temperature, generator)
    if by == "probability":
        return tokens, chances.gather(-1, tokens[:, None]).squeeze(-1)
    if by == "margin":
        best = chances.topk(2, -1).values
        return tokens, best[:, 0] - best[:, 1]
    return tokens, (chances * (chances + 1e-10).log()).sum(-1)


def planned(masks: int, step: int, steps: int, eps: float = 1e-3) -> int:
    """Return how many of so many masks Dream's schedule accepts in a step: the noise falls evenly from 1 to eps.

    It truncates, so with as many steps as slots the first accepts none, and the last takes what is left.
    """
    if step == steps - 1:
        return masks
    noise = torch.linspace(1, eps, steps + 1)
    return int(torch.tensor(float(masks)) * (1 - noise[step + 1] / noise[step]))


def dream(
    logits_of: Logits,
    ids: Tensor,
    mask_id: int,
    *,
    steps: int,
    temperature: float = 0.1,
    top_p: float | None = 0.95,
    by: By = "entropy",
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Accept the most certain slots of each step, as many as the schedule says; they stay.

    Dream-Coder-7B: `DreamGenerationMixin._sample` with its `entropy`, `maskgit_plus` and `topk_margin` (arXiv 2508.15487,
    2509.01142); the defaults are those of DreamLM/Dream-Coder's README. `steps` is the number of slots there.
    """
    ids = ids.clone()
    for step in range(steps):
        where = (ids[0] == mask_id).nonzero().squeeze(-1)
        count = planned(len(where), step, steps)
        if len(where) > 0:
            tokens, certainty = candidates(shifted(logits_of(ids))[0, where], temperature, top_p, by, generator)
            best = certainty.topk(count).indices
            ids[0, where[best]] = tokens[best]
        yield ids.clone()


def path_planning(
    logits_of: Logits,
    ids: Tensor,
    mask_id: int,
    *,
    steps: int = 64,
    temperature: float = 0.6,
    top_p: float | None = 0.95,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Let each step decide anew which slots are masks: those whose candidate is least probable, fewer each time.

    A slot that was accepted before and is not among them keeps its token, though it was ranked by its new candidate.
    Open-dCoder-0.5B: `MDMGenerationMixin._mdm_sample` with `p2` (pengzhangzhi/Open-dLLM);
    the defaults are those of eval/eval_infill/run_eval.sh.
    """
    ids = ids.clone()
    slots = (ids[0] == mask_id).nonzero().squeeze(-1)
    for step in range(steps):
        masks = ids[0, slots] == mask_id
        if not bool(masks.any()):
            return
        tokens, certainty = candidates(shifted(logits_of(ids))[0, slots], temperature, top_p, "probability", generator)
        left = int((torch.tensor(float(len(slots))) * (1 - (step + 1) / steps)).floor())
        again = torch.zeros_like(masks).scatter(0, certainty.argsort()[:left], True)
        ids[0, slots] = torch.where(again, mask_id, torch.where(masks, tokens, ids[0, slots]))
        yield ids.clone()


def dreamon(
    logits_of: Logits,
    ids: Tensor,
    mask_id: int,
    grow_id: int,
    delete_id: int,
    *,
    longest: int = 64,
    steps: int = 256,
    temperature: float = 0.2,
    top_p: float | None = 0.9,
    by: By = "entropy",
    rightwards: bool = True,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Settle one slot a step. One that becomes grow_id is two masks instead; one that becomes delete_id goes.

    rightwards: all masks right of one that goes, go with it. No slot grows in a middle that has `longest` slots, or when
    `longest` have grown. The ids, which get longer and shorter, are yielded after both.

    DreamOn-7B: `MDMGenerator.batch_generate_with_expand_as_token` in DreamLM/DreamOn's eval/generator.py (arXiv 2602.01326);
    the defaults are those of eval/eval_humaneval_infilling.sh. Its grow_id is 151667, its delete_id the end token 151643.
    """
    ids, grown = ids.clone(), 0
    full = ids.shape[1] - int((ids == mask_id).sum()) + longest
    for _ in range(steps):
        where = (ids[0] == mask_id).nonzero().squeeze(-1)
        if len(where) == 0:
            return
        logits = shifted(logits_of(ids))[0, where].clone()
        if ids.shape[1] >= full or grown >= longest:
            logits[:, grow_id] -= 1e9
        tokens, certainty = candidates(logits, temperature, top_p, by, generator)
        best = int(certainty.argmax())
        at, token = int(where[best]), int(tokens[best])
        row: list[int] = ids[0].tolist()
        if token == grow_id:
            row[at : at + 1] = [mask_id, mask_id]
            grown += 1
        elif token == delete_id:
            gone = {int(each) for each in where if each >= at} if rightwards else {at}
            row = [each for i, each in enumerate(row) if i not in gone]
        else:
            row[at] = token
        ids = torch.tensor([row], device=ids.device)
        yield ids.clone()


def blocks_seen(length: int, block: int) -> Tensor:
    """Return `[T, T]`, True where a position sees another: all of its own block and of those before."""
    number = torch.arange(length) // block
    return number[:, None] >= number[None, :]


def sdar(
    logits_of: Callable[[Tensor, Tensor], Tensor],
    prompt: Tensor,
    mask_id: int,
    *,
    length: int,
    block: int = 4,
    steps: int = 4,
    threshold: float | None = 0.85,
    temperature: float = 1.0,
    top_p: float | None = None,
    stops: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Write on from a prompt, block after block; each is denoised while it sees itself and all that is before it.

    logits_of: of ids `[1, T]` where each position sees those that a mask `[T, T]` says. Blocks are cut at multiples of block
    from the first token on, so a prompt's last ids may share a block with the first slots. A slot is read from its own
    position. A step accepts the slots that are more probable than the threshold, and at least its share of the block, the
    most probable first; without a threshold only those. At temperature 0 the likeliest token is ranked by the probability
    that it has at temperature 1. Yields all ids, masks at the end of the last block included.

    SDAR: `block_diffusion_generate` in JetAstra/SDAR's generate.py (arXiv 2510.06303), with its `low_confidence_dynamic` and
    `low_confidence_static`, and with the certainty of its evaluation's copy (opencompass/models/huggingface_bd3.py): before
    anything is cut. A step takes slots only, where those would also overwrite others if fewer masks are left than its share.
    """
    assert block % steps == 0
    start = prompt.shape[1]
    total = -(-(start + length) // block) * block
    ids = torch.cat((prompt, torch.full((1, total - start), mask_id, device=prompt.device)), 1)
    seen = blocks_seen(total, block).to(ids.device)
    for first in range(start // block * block, total, block):
        end = first + block
        for _ in range(steps):
            where = first + (ids[0, first:end] == mask_id).nonzero().squeeze(-1)
            if len(where) == 0:
                break
            logits = logits_of(ids[:, :end], seen[:end, :end])[0, where]
            scaled = logits / temperature if temperature > 0 else logits
            tokens = chosen(cut(scaled, top_p).softmax(-1), temperature, generator)
            chances = scaled.softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
            count = min(block // steps, len(where))
            sure = chances > (2.0 if threshold is None else threshold)
            best = sure.nonzero().squeeze(-1) if int(sure.sum()) >= count else chances.topk(count).indices
            ids[0, where[best]] = tokens[best]
            yield ids.clone()
        if any(each in ids[0, start:end].tolist() for each in stops):
            return
