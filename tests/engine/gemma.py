"""Gemma 4's tokenizer as `tokenizers` has it, built from the vocabulary that splintr-rs comes with: nothing is fetched."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

SIZE = 262_144
BYTES = range(238, 238 + 256)
FIRST = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
CONTROLS = (
    *(
        "<|tool>",
        "<tool|>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<tool_response|>",
        '<|"|>',
        "<|think|>",
    ),
    *("<|channel>", "<channel|>", "<|turn>", "<turn|>", "<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>"),
    *("<audio|>", "<|video|>"),
)  # those that the checkpoint's files mark as special; `<unused0>`, `[multimodal]` and `<table>` they do not
# The prompt of the library's own test of the published checkpoint, from its old template.
KNOWN = "<bos><|turn>user\nWrite a long essay about Portugal.<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"
KNOWN_IDS = (
    2,
    105,
    2364,
    107,
    6974,
    496,
    1440,
    20494,
    1003,
    23613,
    236761,
    106,
    107,
    105,
    4368,
    107,
    100,
    45518,
    107,
    101,
)


@cache
def reference() -> Any:
    """Return the tokenizer of splintr-rs, which is another program's."""
    import splintr

    return splintr.Tokenizer.from_pretrained("gemma4")


@cache
def saved() -> str:
    """Return the tokenizer as its file would be."""
    pieces = [reference().decode_token_bytes(i).decode("utf-8", "replace") for i in range(SIZE)]
    pieces[: len(FIRST)] = FIRST
    for i in BYTES:
        pieces[i] = f"<0x{i - BYTES.start:02X}>"
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == SIZE
    model = models.BPE(vocabulary, merges(vocabulary), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    built = Tokenizer(model)
    built.normalizer = normalizers.Replace(" ", "▁")
    built.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    built.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    runs = [each for each in vocabulary if len(each) > 1 and set(each) in ({"▁"}, {"\n"})]
    built.add_tokens([AddedToken(each, normalized=True) for each in runs])  # the longest run is taken first
    built.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in (*FIRST, *CONTROLS)])
    return built.to_str()


def tokenizer() -> Tokenizer:
    """Return a tokenizer of one's own: the engine changes what it is given."""
    return Tokenizer.from_str(saved())


def merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Return the merges of a SentencePiece vocabulary: the earlier a piece, the earlier it is put together."""
    out = []
    for piece in vocabulary:  # in the order of ids
        if piece.startswith("<0x") and piece.endswith(">"):
            continue
        pairs = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        out += [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary]
    return out
