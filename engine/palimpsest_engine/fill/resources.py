"""A loaded checkpoint as fills use it: what `Filler` and every canvas share. Frozen; knows no request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.cuda.fused_layers import make_fused
from palimpsest_engine.cuda.graphs import Prefixes
from palimpsest_engine.cuda.shared_prefix import Rows, SharedPrefix, make_shared
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Resources:
    """Model, tokenizer and description of one checkpoint, and the way it fills.

    banned `[V]`: ids that no hole may emit. all_banned `[V]`: the same with the filler. prefixes: the buffers of a GPU.
    left_to_right: write holes with the causal encoder, one at a time, and denoise nothing. redraw: draw anew when nothing
    came of a fill, or when every candidate breaks the syntax.
    """

    spec: Spec
    model: Any
    tokens: Tokens
    banned: Tensor
    all_banned: Tensor
    prefixes: Prefixes | None
    left_to_right: bool
    redraw: bool

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, left_to_right: bool, redraw: bool) -> Resources:
        """Prepare a checkpoint's model for this device.

        Raises `UnsupportedCheckpoint` for a left-to-right control that is to denoise.
        """
        spec, model = checkpoint.spec, checkpoint.model
        if spec.left_to_right and not left_to_right:
            raise UnsupportedCheckpoint(
                f"{spec.name} is a left-to-right control for `palimpsest eval`; it cannot fill holes by diffusion."
            )
        tokens = Tokens(checkpoint.tokenizer, model.config.get_text_config().vocab_size)
        all_banned = torch.zeros(tokens.vocabulary, dtype=torch.bool)
        all_banned[list(tokens.special)] = True
        all_banned[checkpoint.tokenizer.get_vocab_size() :] = True
        banned = all_banned.clone()
        if spec.filler is not None:
            banned[spec.filler] = False
        prefixes = None
        if model.device.type == "cuda":
            prefixes = Prefixes()
            make_shared(model)
            make_fused(model)
        banned, all_banned = banned.to(model.device), all_banned.to(model.device)
        return cls(spec, model, tokens, banned, all_banned, prefixes, left_to_right, redraw and not left_to_right)

    def prefix(self, cache: PrefixCache, rows: int) -> RollbackCache | SharedPrefix:
        """Return a document's encoded context for the decoder to read with so many rows."""
        return cache.cache.branch(rows) if self.prefixes is None else self.prefixes.shared(cache.cache)

    def rows(self, cache: PrefixCache, rows: int, length: int) -> RollbackCache | Rows:
        """Return a document's first `length` tokens, encoded, for the encoder to go on from with so many rows."""
        return cache.cache.branch(rows, length) if self.prefixes is None else Rows(cache.cache, length)
