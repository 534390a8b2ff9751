"""Fills holes with a base and its adapter, many problems at once: left to right, denoised, and scored. Trains nothing.

Contexts are read once; every way of filling is a canvas pass over them. Writing left to right reads the whole middle again
for each token, so its passes count and its time does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from palimpsest_train.denoiser.loss import PIECE
from palimpsest_train.denoiser.network import HIDDEN, Adapter, Context, Network, seen_by
from palimpsest_train.denoiser.tokens import Vocabulary


@dataclass(frozen=True, slots=True)
class Problem:
    """A hole between prompt and suffix. truth: what stood there. kind: what tables are split by."""

    name: str
    prompt: str
    suffix: str
    truth: str
    kind: str

    @property
    def one_line(self) -> bool:
        """Return whether the middle is known to lie within a line."""
        return "\n" not in self.truth

    @property
    def healed(self) -> str:
        """Return a space before the cursor that belongs to the token which the middle begins with, or nothing."""
        return " " if self.prompt.endswith(" ") else ""


@dataclass(slots=True)
class Prepared:
    """Problems whose contexts are read. lengths `[B]`: context tokens; last `[B]`: the last one; suffixes: all tokens."""

    problems: Sequence[Problem]
    context: Context
    lengths: Tensor
    last: Tensor
    suffixes: list[list[int]]


@dataclass(frozen=True, slots=True)
class Fill:
    """Tokens of a middle, and passes made. confidence: mean log-probability of its tokens when they were accepted."""

    tokens: tuple[int, ...]
    passes: int
    confidence: float = 0.0


class Filler:
    """Fills prepared problems. pins: suffix tokens in the canvas; suffix, prompt: most tokens of each in the context."""

    def __init__(
        self, network: Network, adapter: Adapter | None, vocabulary: Vocabulary, pins: int, suffix: int, prompt: int
    ) -> None:
        self.network, self.adapter, self.vocabulary = network, adapter, vocabulary
        self.pins, self.suffix, self.prompt = pins, suffix, prompt
        device = network.device
        lines = ["\n" in vocabulary.decode([place]) for place in range(len(vocabulary))]
        self.has_line_end = torch.tensor(lines, device=device)
        self.is_end = torch.zeros(len(vocabulary), dtype=torch.bool, device=device)
        self.is_end[list(vocabulary.special.ends)] = True
        self.never = torch.tensor(vocabulary.special.never, device=device)

    def prepare(self, problems: Sequence[Problem]) -> Prepared:
        """Read the contexts of problems."""
        special, contexts, suffixes = self.vocabulary.special, [], []
        for problem in problems:
            suffix = self.vocabulary.encode(problem.suffix)[: self.suffix]
            before = problem.prompt[: len(problem.prompt) - len(problem.healed)]
            prompt = self.vocabulary.encode(before)[-self.prompt :]
            contexts.append([special.prefix, special.suffix, *suffix, special.middle, *prompt])
            suffixes.append(suffix)
        lengths = torch.tensor([len(c) for c in contexts])
        ids = torch.full((len(contexts), eighths(int(lengths.max()))), special.filler)
        for row, context in zip(ids, contexts, strict=True):
            row[: len(context)] = torch.tensor(context)
        device = self.network.device
        last = ids.gather(1, lengths[:, None] - 1)[:, 0]
        return Prepared(problems, self.network.context(ids.to(device)), lengths.to(device), last.to(device), suffixes)

    @torch.no_grad()
    def hidden(self, prepared: Prepared, ids: Tensor, used: Tensor, causal: bool) -> Tensor:
        """Return `[B, Q, hidden]` of canvases `[B, Q]` of which `used [B, Q]` counts; causal is the base alone."""
        lengths = prepared.lengths[:, None]
        places = torch.arange(ids.shape[1], device=ids.device)
        positions = lengths - 1 + places
        # A left-to-right pass reads the last context token again where the cache would have it: it sees one token less.
        seen = (lengths - int(causal)).expand_as(ids)
        segments = torch.where(used, -1, places)
        bias = seen_by(seen, segments, prepared.context.hidden.shape[1], self.network.dtype, causal)
        return self.network.canvas(ids, positions, bias, prepared.context, None if causal else self.adapter)

    @torch.no_grad()
    def left_to_right(self, prepared: Prepared, most: int) -> list[Fill]:
        """Return greedy middles of at most so many tokens by the base alone; those known to be one line end with it."""
        count, device = len(prepared.problems), self.network.device
        ids = torch.full((count, 1 + most), self.vocabulary.special.filler, device=device)
        ids[:, 0] = prepared.last
        one_line = torch.tensor([p.one_line for p in prepared.problems], device=device)
        open_, lengths = torch.ones(count, dtype=torch.bool, device=device), torch.zeros(count, dtype=torch.long)
        lengths = lengths.to(device)
        for number in range(most):
            width = min(eighths(number + 1), ids.shape[1])
            used = (torch.arange(width, device=device) <= number).expand(count, -1)
            hidden = self.hidden(prepared, ids[:, :width], used, causal=True)[:, number]
            best = self.network.logits(hidden, None).argmax(-1)
            ends = self.is_end[best] | (one_line & self.has_line_end[best])
            # What is before the line end in its token still belongs to the middle; `text_of` cuts the rest off.
            lengths += open_ & ~self.is_end[best]
            ids[:, number + 1] = torch.where(open_, best, ids[:, number + 1])
            open_ = open_ & ~ends
            if not open_.any():
                break
        rows, sizes = ids[:, 1:].tolist(), lengths.tolist()
        return [Fill(tuple(row[:size]), size + 1) for row, size in zip(rows, sizes, strict=True)]

    @torch.no_grad()
    def denoise(self, prepared: Prepared, sizes: Sequence[int], steps: int, confident: float) -> list[Fill]:
        """Return middles denoised in holes of these sizes, one a problem, in at most so many passes.

        Each pass accepts the most probable tokens, as many as it must to be done in time, and any above `confident`.
        """
        device, special = self.network.device, self.vocabulary.special
        width = eighths(1 + max(sizes) + self.pins)
        ids = torch.full((len(sizes), width), special.filler)
        used, noisy = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
        for row, (size, suffix) in enumerate(zip(sizes, prepared.suffixes, strict=True)):
            pins = suffix[: self.pins]
            ids[row, 1 : 1 + size] = special.mask
            ids[row, 1 + size : 1 + size + len(pins)] = torch.tensor(pins, dtype=torch.long)
            used[row, : 1 + size + len(pins)] = True
            noisy[row, 1 : 1 + size] = True
        ids, used, noisy = ids.to(device), used.to(device), noisy.to(device)
        ids[:, 0] = prepared.last
        surety = torch.zeros(ids.shape, device=device)
        passes = torch.zeros(len(sizes), dtype=torch.long, device=device)
        for number in range(steps):
            left = noisy.sum(1)
            if not left.any():
                break
            passes += left > 0
            hidden = self.hidden(prepared, ids, used, causal=False)
            best, sure = self.best(hidden[:, :-1][noisy[:, 1:]])
            found, logs = torch.zeros_like(ids), torch.full(ids.shape, HIDDEN, device=device)
            found[noisy], logs[noisy] = best, sure
            wanted = (left + steps - number - 1) // (steps - number)
            rank = logs.argsort(1, descending=True).argsort(1)
            accepted = noisy & ((rank < wanted[:, None]) | (logs > math.log(confident)))
            ids, surety = torch.where(accepted, found, ids), torch.where(accepted, logs, surety)
            noisy = noisy & ~accepted
        fills = []
        for row, sure_row, size, count in zip(ids.tolist(), surety.tolist(), sizes, passes.tolist(), strict=True):
            tokens = row[1 : 1 + size]
            length = tokens.index(special.filler) if special.filler in tokens else size
            weighed = sure_row[1 : 1 + min(length + 1, size)]  # the first filler says that the middle ends
            fills.append(Fill(tuple(tokens[:length]), count, sum(weighed) / len(weighed)))
        return fills

    def best(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return (most probable token, its log-probability) of slots `[N, hidden]`, control tokens left out."""
        found, logs = [], []
        for first in range(0, len(hidden), PIECE):
            scores = self.network.logits(hidden[first : first + PIECE], self.adapter)
            scores[:, self.never] = HIDDEN
            sure, best = F.log_softmax(scores, -1).max(-1)
            found.append(best)
            logs.append(sure)
        return torch.cat(found), torch.cat(logs)

    @torch.no_grad()
    def likelihood(self, prepared: Prepared, fills: Sequence[Fill]) -> list[tuple[float, float]]:
        """Score each fill by the base alone: (log-probability of its tokens, log-probability that the middle ends there)."""
        device, special = self.network.device, self.vocabulary.special
        width = eighths(1 + max(len(fill.tokens) for fill in fills))
        ids = torch.full((len(fills), width), special.filler)
        used = torch.zeros_like(ids, dtype=torch.bool)
        for row, fill in enumerate(fills):
            ids[row, 1 : 1 + len(fill.tokens)] = torch.tensor(fill.tokens, dtype=torch.long)
            used[row, : 1 + len(fill.tokens)] = True
        ids, used = ids.to(device), used.to(device)
        ids[:, 0] = prepared.last
        hidden = self.hidden(prepared, ids, used, causal=True)
        one_line = torch.tensor([p.one_line for p in prepared.problems], device=device)
        found = torch.zeros(ids.shape, device=device)
        last = used.sum(1) - 1
        following = torch.cat((ids[:, 1:], ids[:, :1]), 1)
        for row in range(0, len(fills), max(1, PIECE // width)):
            part = slice(row, row + max(1, PIECE // width))
            logs = F.log_softmax(self.network.logits(hidden[part].flatten(0, 1), None), -1)
            logs = logs.view(-1, width, logs.shape[-1])
            found[part] = logs.gather(2, following[part][..., None])[..., 0]
            at_end = logs[torch.arange(len(logs), device=device), last[part]]
            ending = self.is_end | (one_line[part][:, None] & self.has_line_end)
            end = at_end.masked_fill(~ending, HIDDEN).logsumexp(-1)
            found[part].scatter_(1, last[part][:, None], end[:, None])
        ends = found.gather(1, last[:, None])[:, 0]
        places = torch.arange(width, device=device)
        sums = (found * (places < last[:, None])).sum(1)
        return list(zip(sums.tolist(), ends.tolist(), strict=True))

    def text_of(self, problem: Problem, fill: Fill) -> str:
        """Return the text of a fill; of a problem known to be one line, its first. The space that was healed is not in it."""
        text = self.vocabulary.decode(fill.tokens).removeprefix(problem.healed)
        return text.partition("\n")[0] if problem.one_line else text


def eighths(number: int) -> int:
    """Round up to a multiple of 8, which fused attention wants of a bias."""
    return (number + 7) // 8 * 8
