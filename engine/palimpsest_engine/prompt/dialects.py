"""The ways of asking for a middle that left-to-right models were taught, and how a tokenizer shows which one is its own.

Text only. The formats are those of the models' own cards and papers; the order of the two sides is prefix first (PSM) or
suffix first (SPM), as in arXiv 2207.14255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

PREFIX, SUFFIX = "PREFIX", "SUFFIX"  # stand in a template for the text on either side of the hole
PATH = "PATH"  # stands in `file` for a path, and in `repo` for the project's name
Order = Literal["psm", "spm"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Control tokens and their order.

    psm, spm: templates of control tokens, `PREFIX` and `SUFFIX`; None where the model was not taught that order. file: what
    stands before a file of the project, `PATH` in it; "" where the model was not taught any. repo: what stands before all
    files. ends: control tokens that end a middle. own_file: whether the file at hand is announced by `file`, too.
    """

    name: str
    psm: tuple[str, ...] | None
    spm: tuple[str, ...] | None = None
    file: str = ""
    repo: str = ""
    ends: tuple[str, ...] = ()
    own_file: bool = False

    @property
    def controls(self) -> frozenset[str]:
        """Return the control tokens without which nothing can be asked."""
        parts = {*(self.psm or ()), *(self.spm or ())}
        return frozenset(parts - {PREFIX, SUFFIX})

    def template(self, order: Order) -> tuple[str, ...]:
        """Return the template of an order, or the other one where the model was taught no such."""
        wanted, other = (self.psm, self.spm) if order == "psm" else (self.spm, self.psm)
        found = wanted or other
        assert found is not None
        return found


DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "qwen",
        ("<|fim_prefix|>", PREFIX, "<|fim_suffix|>", SUFFIX, "<|fim_middle|>"),
        ("<|fim_prefix|>", "<|fim_suffix|>", SUFFIX, "<|fim_middle|>", PREFIX),
        file="<|file_sep|>PATH\n",
        repo="<|repo_name|>PATH\n",
        ends=("<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>"),
        own_file=True,
    ),
    Dialect(
        "codegemma",
        ("<|fim_prefix|>", PREFIX, "<|fim_suffix|>", SUFFIX, "<|fim_middle|>"),
        file="<|file_separator|>",
        ends=("<|file_separator|>", "<eos>", "<end_of_turn>"),
    ),
    Dialect(
        "granite",
        ("<|fim_prefix|>", PREFIX, "<|fim_suffix|>", SUFFIX, "<|fim_middle|>"),
        ("<|fim_prefix|>", "<|fim_suffix|>", SUFFIX, "<|fim_middle|>", PREFIX),
        ends=("<|end_of_text|>", "<|fim_pad|>", "<|endoftext|>"),
    ),
    Dialect(
        "mellum",
        None,
        ("<fim_suffix>", SUFFIX, "<fim_prefix>", PREFIX, "<fim_middle>"),
        file="<filename>PATH\n",
        repo="<reponame>PATH\n",
        ends=("<|endoftext|>", "<filename>", "<fim_pad>"),
        own_file=True,
    ),
    Dialect(
        "starcoder2",
        ("<fim_prefix>", PREFIX, "<fim_suffix>", SUFFIX, "<fim_middle>"),
        ("<fim_prefix>", "<fim_suffix>", SUFFIX, "<fim_middle>", PREFIX),
        file="<file_sep>PATH\n",
        repo="<repo_name>PATH\n",
        ends=("<|endoftext|>", "<file_sep>", "<fim_pad>"),
        own_file=True,
    ),
    Dialect(
        "deepseek-coder",
        ("<｜fim▁begin｜>", PREFIX, "<｜fim▁hole｜>", SUFFIX, "<｜fim▁end｜>"),
        ends=("<｜end▁of▁sentence｜>", "<|EOT|>"),
    ),
    Dialect(
        "codellama",
        ("▁<PRE>", PREFIX, "▁<SUF>", SUFFIX, "▁<MID>"),
        ("▁<PRE>", "▁<SUF>", SUFFIX, "▁<MID>", PREFIX),
        ends=("▁<EOT>", "</s>"),
    ),
    Dialect("codestral", None, ("[SUFFIX]", SUFFIX, "[PREFIX]", PREFIX), ends=("</s>", "[SUFFIX]", "[PREFIX]")),
)
PREFIX_ONLY = Dialect(
    "prefix only", None, (PREFIX,), ends=("<|endoftext|>", "<|im_end|>", "</s>", "<eos>", "<end_of_turn>", "<|eot_id|>")
)

# Tokens by which dialects with the same control tokens are told apart: with one of these it is the named one.
_TOLD_BY = {
    "codegemma": "<|file_separator|>",
    "granite": "<|end_of_text|>",
    "mellum": "<filename>",
    "starcoder2": "<file_sep>",
}


def dialect_of(has: Callable[[str], bool]) -> Dialect:
    """Return the dialect whose control tokens a tokenizer has, or `PREFIX_ONLY`. has: whether a text is one of its tokens."""
    found = [each for each in DIALECTS if all(map(has, each.controls))]
    told = [each for each in found if each.name in _TOLD_BY and has(_TOLD_BY[each.name])]
    if told:
        return told[0]
    plain = [each for each in found if each.name not in _TOLD_BY]
    return (plain or found or [PREFIX_ONLY])[0]


def dialect_for(model: str) -> Dialect | None:
    """Return the dialect of a model by its name, such as `qwen2.5-coder:1.5b`, or None."""
    name = model.lower()
    for each, parts in _NAMES.items():
        if any(part in name for part in parts):
            return next(dialect for dialect in DIALECTS if dialect.name == each)
    return None


_NAMES = {
    "qwen": ("qwen2.5-coder", "qwen3-coder", "codeqwen"),
    "starcoder2": ("starcoder", "stable-code", "santacoder"),
    "deepseek-coder": ("deepseek-coder",),
    "codellama": ("codellama", "code-llama"),
    "codegemma": ("codegemma",),
    "codestral": ("codestral",),
    "granite": ("granite",),
    "mellum": ("mellum",),
}
