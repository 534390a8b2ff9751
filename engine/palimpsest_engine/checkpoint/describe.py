"""Describe a checkpoint without loading its weights: how it is asked, its tokenizer, and the size of its vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from palimpsest_engine.checkpoint.gguf.diffusion import open_gguf
from palimpsest_engine.checkpoint.load_causal import is_causal, spec_of
from palimpsest_engine.checkpoint.loaded import choose, vocabulary_of
from palimpsest_engine.checkpoint.locate import locate, read_json
from palimpsest_engine.checkpoint.source import spec_in, tokenizer_of
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.engine import EngineSettings


@dataclass(frozen=True, slots=True)
class Described:
    """A checkpoint as `load` would give it, but for its model."""

    spec: Spec
    tokenizer: Any
    vocabulary: int


def describe(settings: EngineSettings) -> Described:
    """Describe the checkpoint of the settings. Raises what finding it and reading its tokenizer raise."""
    source = locate(settings.checkpoint)
    if is_causal(source):
        from palimpsest_engine.checkpoint import causal

        opened = causal.open_files(source, int8=True)
        return Described(spec_of(opened, choose(settings)[0]), opened.tokenizer, vocabulary_of(opened.config, source))
    config = open_gguf(source).config() if source.is_file() else read_json(source / "config.json")
    return Described(spec_in(source), tokenizer_of(source), vocabulary_of(config, source))
