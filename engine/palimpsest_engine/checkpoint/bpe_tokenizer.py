"""Build the tokenizer of a checkpoint folder, also one without `tokenizer.json`. Knows no model and runs no code of theirs.

Such a folder describes a byte-level BPE tokenizer of Qwen2's kind in up to five files: `vocab.json` and `merges.txt`, and for
tokens beside the vocabulary `tokenizer_config.json`, or `added_tokens.json` and `special_tokens_map.json`. What is built
from them is what the library's Qwen2Tokenizer builds, or an error: it gives an added token the next free id, whatever id
the files say, and appends control tokens that have none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors

from palimpsest_engine.checkpoint.gguf.tokenizer import byte_level_bpe, read_tokenizer
from palimpsest_engine.checkpoint.locate import TOKENIZER, tokenizer_files
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast", "DreamTokenizer")  # the last is the first under another name
LARGEST = 64 * 2**20  # bytes of a file; Qwen's are below 4 MiB
MOST = 2**20  # tokens
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def tokenizer_in(folder: Path) -> Tokenizer:
    """Return the tokenizer of a checkpoint folder: its `tokenizer.json`, or what its other files describe.

    Raises CheckpointBroken for files that are missing or damaged, UnsupportedCheckpoint for a tokenizer of another kind.
    """
    if (folder / TOKENIZER).exists():
        return read_tokenizer(folder / TOKENIZER)
    there = [path.name for path in tokenizer_files(folder)]
    if not there:
        raise CheckpointBroken(f"The checkpoint lacks {TOKENIZER} (looked in {folder}).")
    for name in ("vocab.json", "merges.txt"):
        if name not in there:
            raise CheckpointBroken(
                f"The checkpoint lacks {TOKENIZER}, and {name} to build one from (looked in {folder})."
            )
    config = _object(folder / "tokenizer_config.json") if "tokenizer_config.json" in there else {}
    if (name := config.get("tokenizer_class", CLASSES[0])) not in CLASSES or config.get("add_prefix_space"):
        raise UnsupportedCheckpoint(
            f"{folder} lacks {TOKENIZER}, and its other files describe a tokenizer that this engine cannot build "
            f"({_shown(name)})."
        )
    vocabulary = _vocabulary(folder / "vocab.json")
    merges = _merges(folder / "merges.txt", vocabulary)
    declared = _declared(folder, config, there)
    try:
        tokenizer = byte_level_bpe("qwen2", vocabulary, merges, _added(folder, declared, vocabulary))
        _complete(tokenizer, declared)
    except CheckpointBroken:
        raise
    except Exception as error:  # tokenizers raises nothing more exact
        raise CheckpointBroken(f"The tokenizer in {folder} is damaged: {' '.join(str(error).split())}") from error
    for token, number in declared.numbers.items():
        if tokenizer.token_to_id(token) != number:
            raise CheckpointBroken(f"The tokenizer in {folder} cannot give {_shown(token)} the id {number}.")
    return tokenizer


@dataclass(frozen=True, slots=True)
class Declared:
    """The tokens beside the vocabulary, as the files declare them. numbers: ids by token. controls: tokens that are no text.

    first, last: the token that is put before and after each text that is encoded with them.
    """

    numbers: dict[str, int]
    flags: dict[str, dict[str, bool]]
    controls: tuple[str, ...]
    first: str | None = None
    last: str | None = None


def _vocabulary(path: Path) -> dict[str, int]:
    vocabulary = _object(path)
    if not vocabulary or len(vocabulary) > MOST:
        raise CheckpointBroken(f"{path} has {len(vocabulary)} tokens; 1 to {MOST} are possible.")
    if wrong := next((token for token, number in vocabulary.items() if type(number) is not int), None):
        raise CheckpointBroken(f"{path} gives {_shown(wrong)} no number for an id.")
    if set(vocabulary.values()) != set(range(len(vocabulary))):
        raise CheckpointBroken(
            f"{path} has {len(vocabulary)} tokens, and their ids are not 0 to {len(vocabulary) - 1}."
        )
    return vocabulary


def _merges(path: Path, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    merges = dict[tuple[str, str], int]()
    for number, line in enumerate(_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        left, blank, right = line.partition(" ")
        if not (left and blank and right) or " " in right:
            raise CheckpointBroken(f"{path} has no two tokens on line {number}.")
        if unknown := next((each for each in (left, right, left + right) if each not in vocabulary), None):
            raise CheckpointBroken(f"{path} names {_shown(unknown)} on line {number}, which vocab.json does not have.")
        if merges.setdefault((left, right), number) != number:
            raise CheckpointBroken(f"{path} has the same merge on lines {merges[left, right]} and {number}.")
    return list(merges)


def _declared(folder: Path, config: dict[str, Any], there: list[str]) -> Declared:
    """Read which tokens stand beside the vocabulary; if `tokenizer_config.json` says it, the older files are not asked."""
    path = folder / "tokenizer_config.json"
    names = config
    numbers, flags = dict[str, int](), dict[str, dict[str, bool]]()
    if "added_tokens_decoder" in config:
        entries = config["added_tokens_decoder"]
        if not isinstance(entries, dict) or len(entries) > MOST:
            raise CheckpointBroken(f"{path} has no table of added tokens.")
        for key, entry in entries.items():
            token = entry.get("content") if isinstance(entry, dict) else None
            if not isinstance(token, str) or not (key.isascii() and key.isdigit() and len(key) < 10):
                raise CheckpointBroken(f"{path} has an added token that is none ({_shown(key)}).")
            if token in numbers:
                raise CheckpointBroken(f"{path} gives {_shown(token)} two ids.")
            numbers[token] = int(key)
            flags[token] = {flag: bool(entry[flag]) for flag in _FLAGS if flag in entry}
    else:
        if "special_tokens_map.json" in there:
            names = {**config, **_object(folder / "special_tokens_map.json")}
        if "added_tokens.json" in there:
            path = folder / "added_tokens.json"
            for token, number in _object(path).items():
                if type(number) is not int:
                    raise CheckpointBroken(f"{path} gives {_shown(token)} no number for an id.")
                numbers[token] = number
    extra: Any = next((names[key] for key in _EXTRA if names.get(key)), [])
    if not isinstance(extra, list):
        raise CheckpointBroken(f"{path} has no list of control tokens.")
    controls = [_content(folder, each) for each in (*(names[key] for key in _NAMED if names.get(key)), *extra)]
    for token in numbers:
        if not flags.get(token):
            flags[token] = {"special": token in controls, "normalized": token not in controls}
        elif token in controls[: len(controls) - len(extra)]:
            flags[token]["special"] = True
    first, last = (
        _content(folder, names[f"{key}_token"]) if names.get(f"add_{key}_token") and names.get(f"{key}_token") else None
        for key in ("bos", "eos")
    )
    return Declared(numbers, flags, tuple(dict.fromkeys(controls)), first, last)


def _content(folder: Path, value: Any) -> str:
    token = value.get("content") if isinstance(value, dict) else value
    if not isinstance(token, str):
        raise CheckpointBroken(f"The tokenizer in {folder} names a control token that is none ({_shown(value)}).")
    return token


def _added(folder: Path, declared: Declared, vocabulary: dict[str, int]) -> list[AddedToken]:
    """Return the added tokens in the order of their ids, which have to go on where the vocabulary ends."""
    by_number = dict[int, str]()
    for token, number in declared.numbers.items():
        if not token:
            raise CheckpointBroken(f"The tokenizer in {folder} has an added token without text.")
        if by_number.setdefault(number, token) != token:
            raise CheckpointBroken(
                f"The tokenizer in {folder} gives {_shown(by_number[number])} and {_shown(token)} one id, {number}."
            )
        if vocabulary.get(token, number) != number or (number < len(vocabulary) and token not in vocabulary):
            raise CheckpointBroken(
                f"The tokenizer in {folder} gives {_shown(token)} the id {number}, unlike vocab.json."
            )
    beyond = sorted(number for number in by_number if number >= len(vocabulary))
    if beyond != list(range(len(vocabulary), len(vocabulary) + len(beyond))):
        raise CheckpointBroken(
            f"The added tokens of the tokenizer in {folder} have the ids {beyond[0]} to {beyond[-1]} with gaps; they have to "
            f"go on from {len(vocabulary)}."
        )
    missing = [each for each in declared.controls if each not in declared.numbers and each not in vocabulary]
    if missing:
        raise CheckpointBroken(
            f"The tokenizer in {folder} names the control token {_shown(missing[0])}, which has no id."
        )
    flags = declared.flags
    listed = [AddedToken(by_number[number], **flags[by_number[number]]) for number in sorted(by_number)]
    return [*listed, *(AddedToken(each, special=True) for each in declared.controls if each not in declared.numbers)]


def _complete(tokenizer: Tokenizer, declared: Declared) -> None:
    """Let it put the first and the last token around a text that is encoded with them."""
    around = [each for each in (declared.first, declared.last) if each is not None]
    if around:
        template = " ".join([f"{declared.first}:0"] * (declared.first is not None) + ["$A:0"])
        if declared.last is not None:
            template += f" {declared.last}:0"
        known = [(each, tokenizer.token_to_id(each)) for each in dict.fromkeys(around)]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=known)


def _object(path: Path) -> dict[str, Any]:
    """Read a JSON object, of a bounded size and with no key twice. Raises CheckpointBroken."""
    try:
        value = json.loads(_text(path), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointBroken(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointBroken(f"{path} is not a JSON object.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{_shown(next(key for key in found if keys.count(key) > 1))} is in it twice")
    return found


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise CheckpointBroken(f"{path} is too large for a tokenizer ({size} bytes).")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointBroken(f"{path} is not text in UTF-8.") from None
    except OSError as error:
        raise CheckpointBroken(f"{path} cannot be read: {error.strerror}.") from None


def _shown(value: object) -> str:
    """Return what a file says for an error's sentence, on one line and not all of it if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
