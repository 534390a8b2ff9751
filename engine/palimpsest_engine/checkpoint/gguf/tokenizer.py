"""Build the tokenizer that a GGUF file describes. Knows no model.

A GGUF file has the vocabulary, the merges and the *name* of the rule that cuts text into words; the rules are those of the
models' own `tokenizer.json` files. A file of another rule needs that file beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from palimpsest_engine.checkpoint.gguf.file import GgufFile
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5  # llama.cpp's kinds of token
_GEMMA = "gemma4"  # llama.cpp's name for a tokenizer without the words of others
_UNKNOWN_OF_GEMMA = 3  # the id of `<unk>`
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = {"qwen2": rf"{_LETTERS}|\p{{N}}|{_SIGNS}", "llama-bpe": rf"{_LETTERS}|\p{{N}}{{1,3}}|{_SIGNS}"}
_DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell")
_PLAIN = ("gpt-2", "default")


def qwen_tokenizer(tokens: Sequence[str], merges: Iterable[str], special: Iterable[str]) -> Tokenizer:
    """Make a byte-level BPE tokenizer that cuts text as Qwen2's does. merges: "left right", the first merged first."""
    return byte_level_bpe("qwen2", _numbered(tokens), _pairs(merges), _controls(special))


def tokenizer_in(file: GgufFile) -> Tokenizer:
    """Return the tokenizer of a GGUF file, or the one in a `tokenizer.json` beside it if its own rule is not known here.

    Raises UnsupportedCheckpoint if there is neither, CheckpointBroken if it is damaged.
    """
    kind, rule = file.field("tokenizer.ggml.model", "none"), file.field("tokenizer.ggml.pre", "default")
    if kind != _GEMMA and (kind != "gpt2" or rule not in (*_WORDS, *_DIGITS_APART, *_PLAIN)):
        beside = file.path.with_name("tokenizer.json")
        if beside.exists():
            return read_tokenizer(beside)
        raise UnsupportedCheckpoint(
            f"The tokenizer of {file.path} is of a kind that this engine cannot build ({kind}, {rule}); "
            f"put the model's tokenizer.json beside the file."
        )
    tokens, kinds = file.field("tokenizer.ggml.tokens"), file.field("tokenizer.ggml.token_type", [])
    while kinds and len(kinds) == len(tokens) and kinds[-1] == _UNUSED:  # rows of the matrix that no token has
        tokens, kinds = tokens[:-1], kinds[:-1]
    special = [token for token, kind in zip(tokens, kinds, strict=False) if kind in (_CONTROL, _USER_DEFINED)]
    merges = _pairs(file.field("tokenizer.ggml.merges"))
    try:
        if kind == _GEMMA:
            return gemma_bpe(tokens, merges, kinds[: len(tokens)])
        return byte_level_bpe(rule, _numbered(tokens), merges, _controls(special))
    except CheckpointBroken:
        raise
    except Exception as error:  # tokenizers raises nothing more exact
        raise CheckpointBroken(f"The tokenizer in {file.path} is damaged: {error}") from error


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json` as a `tokenizers.Tokenizer` that encodes each text whole. Raises CheckpointBroken.

    A file can ask for truncation and padding, which are for training: they would drop what stands before a hole.
    """
    try:
        found: Tokenizer = Tokenizer.from_file(str(path))
        found.no_truncation()
        found.no_padding()
        return found
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises nothing more exact, and a panic in it is no Exception
        raise CheckpointBroken(f"The checkpoint in {path.parent} cannot be loaded: {error}") from error


def byte_level_bpe(
    rule: str, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], added: Sequence[AddedToken]
) -> Tokenizer:
    """Make a byte-level BPE tokenizer. rule: the name of the way in which it cuts text into words, as in GGUF files.

    added: tokens that are found in a text before it is cut. Those that are not in the vocabulary get the next ids.
    """
    tokenizer = Tokenizer(BPE(vocab=dict(vocabulary), merges=list(merges)))
    if rule == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    if rule in _WORDS:
        words: list[Any] = [
            pre_tokenizers.Split(Regex(_WORDS[rule]), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        digits = [pre_tokenizers.Digits(individual_digits=True)] if rule in _DIGITS_APART else []
        words = [*digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(list(added))
    return tokenizer


def gemma_bpe(tokens: Sequence[str], merges: Sequence[tuple[str, str]], kinds: Sequence[int]) -> Tokenizer:
    """Make the tokenizer of Gemma 4. kinds: llama.cpp's kind of each token.

    Text is cut behind its blanks, which are `▁`. The longest run of blanks or line ends is one token, whatever the merges
    say; letters that no token has are bytes.
    """
    vocabulary = _numbered(tokens)
    unknown = tokens[_UNKNOWN_OF_GEMMA] if len(tokens) > _UNKNOWN_OF_GEMMA else None
    tokenizer = Tokenizer(BPE(vocabulary, list(merges), unk_token=unknown, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    runs = [each for each in tokens if len(each) > 1 and set(each) in ({"▁"}, {"\n"})]
    tokenizer.add_tokens([AddedToken(each, normalized=True) for each in runs])
    named = [(token, kind) for token, kind in zip(tokens, kinds, strict=True) if kind in (_CONTROL, _USER_DEFINED)]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in named if kind == _USER_DEFINED])
    tokenizer.add_special_tokens(_controls(token for token, kind in named if kind == _CONTROL))
    return tokenizer


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: i for i, token in enumerate(tokens)}


def _pairs(merges: Iterable[str]) -> list[tuple[str, str]]:
    return [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]


def _controls(tokens: Iterable[str]) -> list[AddedToken]:
    return [AddedToken(token, special=True, normalized=False) for token in tokens]
