"""A loaded checkpoint as fills use it: what `Filler` and every canvas share. Frozen; knows no request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.calibration import Calibration
from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.cuda.backend import Backend, prepare, prepare_left_to_right
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.prompt.layout import CHAT_ENDS
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import FillRequest


@dataclass(frozen=True, slots=True)
class Resources:
    """Model, tokenizer and description of one checkpoint, and the way it fills.

    banned `[V]`: ids that no hole may emit. all_banned `[V]`: the same, with the filler and what changes the length. ends:
    ids that end what is written left to right; banned_but_ends `[V]`: those that may not be written then. backend: the way
    this device reads a cache.
    calibration: how sure its fills are, None if nobody measured that.
    left_to_right: write holes with the causal encoder, one at a time, and denoise nothing. redraw: draw anew when nothing
    came of a fill, or when every candidate breaks the syntax. openings: what `opening` has returned.
    """

    spec: Spec
    model: Any
    tokens: Tokens
    banned: Tensor
    all_banned: Tensor
    ends: frozenset[int]
    banned_but_ends: Tensor
    backend: Backend
    calibration: Calibration | None
    left_to_right: bool
    redraw: bool
    openings: dict[tuple[str, bool], Tensor] = field(default_factory=dict)

    @property
    def sides(self) -> bool:
        """Return whether each pass reads both sides, with the canvas between them; nothing is read causally then."""
        return self.spec.denoising.context == "both"

    @property
    def changes_length(self) -> bool:
        """Return whether holes become longer and shorter while they are denoised, which only one row at a time can do."""
        return self.spec.denoising.grow_id is not None or self.spec.denoising.shrink_id is not None

    @property
    def taught(self) -> bool:
        """Return whether the prompt is the one that a left-to-right model was taught."""
        return self.spec.dialect == "taught"

    @property
    def ends_itself(self) -> bool:
        """Return whether the model is shown both sides and ends a middle, or its turn, by a token of its own."""
        return self.spec.dialect in ("taught", "chat")

    def writes(self, request: FillRequest) -> bool:
        """Return whether the holes of a request are written left to right, and not denoised."""
        if request.start:
            return False
        always = self.left_to_right or request.left_to_right
        return always or (self.spec.fresh == "written" and request.strength == 1.0)

    def at(self, temperature: float | None) -> Resources:
        """Return the same with the sampler at a temperature; None for the checkpoint's own."""
        if temperature is None:
            return self
        sampling = replace(self.spec.sampling, t_min=temperature, t_max=temperature)
        return replace(self, spec=replace(self.spec, sampling=sampling))

    def opening(self, healed: str, *, a_line: bool = False) -> Tensor | None:
        """Return the only ids that may come first, or None for any.

        healed: the text of a token that has to be written again. a_line: the hole is a line of its own and wants one line, so
        it does not begin with the end of it.
        """
        if not healed and not a_line:
            return None
        key = healed, a_line
        if key not in self.openings:
            ends = frozenset[int]() if healed else self.ends
            ids = self.tokens.opening(healed, ends) if a_line else self.tokens.starting_with(healed)
            self.openings[key] = torch.tensor(ids, dtype=torch.long, device=self.model.device)
        return self.openings[key]

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, left_to_right: bool, redraw: bool) -> Resources:
        """Prepare a checkpoint's model for this device.

        Raises `UnsupportedCheckpoint` for a left-to-right control that is to denoise, and for a model that is to write left
        to right and cannot.
        """
        spec, model = checkpoint.spec, checkpoint.model
        if left_to_right and spec.denoising.context == "both":
            raise UnsupportedCheckpoint(
                f"{spec.name} reads both sides of a hole at once; it cannot write left to right."
            )
        if spec.left_to_right and not left_to_right:
            raise UnsupportedCheckpoint(
                f"{spec.name} is a left-to-right control for `palimpsest eval`; it cannot fill holes by diffusion."
            )
        left_to_right |= not spec.denoises
        tokens = Tokens(checkpoint.tokenizer, model.config.get_text_config().vocab_size)
        all_banned = torch.zeros(tokens.vocabulary, dtype=torch.bool)
        all_banned[list(tokens.special)] = True
        all_banned[checkpoint.tokenizer.get_vocab_size() :] = True
        banned = all_banned.clone()
        for allowed in (spec.filler, spec.denoising.grow_id, spec.denoising.shrink_id):
            if allowed is not None:
                banned[allowed] = False
        ends = frozenset({spec.filler} if spec.left_to_right and spec.filler is not None else ())
        if spec.dialect == "taught":
            ends = tokens.ends
        elif spec.dialect == "chat":
            ends = frozenset(map(tokens.control, CHAT_ENDS))
        banned_but_ends = all_banned.clone()
        banned_but_ends[list(ends)] = False
        tensors = [each.to(model.device) for each in (banned, all_banned, banned_but_ends)]
        return cls(
            spec=spec,
            model=model,
            tokens=tokens,
            banned=tensors[0],
            all_banned=tensors[1],
            ends=ends,
            banned_but_ends=tensors[2],
            backend=(prepare if spec.denoises and spec.denoising.conditioned else prepare_left_to_right)(model),
            calibration=checkpoint.calibration,
            left_to_right=left_to_right,
            redraw=redraw and (not left_to_right or spec.dialect == "taught"),
        )
