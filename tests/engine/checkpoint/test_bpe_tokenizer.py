"""Tokenizers without a tokenizer.json: the library's own from the same files, or one sentence that says what is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint import bpe_tokenizer
from palimpsest_engine.checkpoint.bpe_tokenizer import tokenizer_in
from palimpsest_engine.checkpoint.kept import eight_bits, identity
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.errors import CheckpointBroken, CheckpointError, UnsupportedCheckpoint

from .. import causal

ROOT = Path(__file__).parents[3]
ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "<|fim_prefix|>", "<|beginoftext|>", "<|mask|>")
PLAIN = ("<tool_call>", "<|fim_prefix|>")  # added, and yet not special
NAMES = {"bos_token": "<|beginoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
NAMES |= {"mask_token": "<|mask|>", "unk_token": None}
TEXTS = (
    "",
    " ",
    "\n\n\n    \t\tdef f(x):\r\n\treturn  x  \n",
    "if a  and not b:\n        return {'k': [1, 22, 333], 'α': \"ß\"}  # don't, we'll I'VE\n",
    "naïve cafe\u0301 = 'e\u0301' + '\u00e9' + '\u212b' + 'ﬁ'\n",  # not in NFC
    "日本語のコメント // 变量 = 변수 🙂👩‍👩‍👧 \u200b\ufeff\u00a0\u2028x\u0085y",
    "a<|im_end|>b <|mask|> <|fim_prefix|>c<tool_call> <|nothing|><|endoftext|>",
    "\x00\x07\x1b[31m\x7f",
)


@pytest.fixture(scope="module")
def words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A small vocabulary and its merges, learnt from files of this repository."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train(
        [str(path) for path in sorted((ROOT / "engine/palimpsest_engine/checkpoint").glob("*.py"))], trainer
    )
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def entry(token: str, special: bool) -> dict[str, Any]:
    return {"content": token, "special": special} | dict.fromkeys(
        ("lstrip", "normalized", "rstrip", "single_word"), False
    )


def write(folder: Path, words: Any, kind: str = "config") -> Path:
    """Write the files as they are published. kind: where the added tokens stand."""
    folder.mkdir(exist_ok=True)
    vocabulary, merges = words
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    ids = {token: len(vocabulary) + i for i, token in enumerate(ADDED)}
    config: dict[str, Any] = {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False}
    extra = ["<|im_start|>", "<|im_end|>"]
    if kind == "config":
        table = {str(i): entry(token, token not in PLAIN) for token, i in ids.items()}
        config |= {**NAMES, "additional_special_tokens": extra, "added_tokens_decoder": table}
        (folder / "added_tokens.json").write_text(json.dumps({"<MASK>": ids["<|mask|>"]}))  # outdated, and not asked
    else:
        names = {
            key: {"content": value, "lstrip": False} if kind == "older" else value
            for key, value in NAMES.items()
            if value
        }
        (folder / "special_tokens_map.json").write_text(json.dumps({**names, "additional_special_tokens": extra}))
        (folder / "added_tokens.json").write_text(json.dumps(dict(reversed(ids.items()))))
        config |= {"unk_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=["config", "older", "oldest"])
def both(request, words, tmp_path_factory) -> tuple[Tokenizer, Any]:
    """(ours, the library's) of the same files."""
    folder = write(tmp_path_factory.mktemp(request.param), words, request.param)
    theirs = transformers.Qwen2TokenizerFast.from_pretrained(folder, local_files_only=True)
    return tokenizer_in(folder), theirs


def test_it_is_the_librarys_own(both):
    ours, theirs = (json.loads(each.to_str()) for each in (both[0], both[1].backend_tokenizer))
    for each in (ours, theirs):
        del each["post_processor"]  # the library has one that adds nothing
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            each["model"][key] = each["model"][key] or None
    assert ours == theirs


@pytest.mark.parametrize("text", [*TEXTS, Path(__file__).read_text("utf-8")], ids=range(len(TEXTS) + 1))
@pytest.mark.parametrize("literally", [False, True])
def test_texts_become_the_same_tokens(both, text, literally):
    ours, theirs = both
    for each in (ours, theirs.backend_tokenizer):
        each.encode_special_tokens = literally
    ids = ours.encode(text).ids
    assert ids == theirs.backend_tokenizer.encode(text).ids
    assert literally or ids == theirs(text)["input_ids"]
    for skip in (True, False):
        assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
            ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
        )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from([*ADDED, " ", "\n", "\r\n", "    ", "e\u0301", "'s"]))))
def test_any_text_becomes_the_same_tokens(both, parts):
    text = "".join(parts)
    ours, theirs = both
    for each in (ours, theirs.backend_tokenizer):
        each.encode_special_tokens = False
    assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_tokens_that_go_around_each_text_are_put_there(words, tmp_path):
    folder = write(tmp_path, words)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "add_bos_token": True, "add_eos_token": True}))
    ours, theirs = tokenizer_in(folder), transformers.Qwen2TokenizerFast.from_pretrained(folder, local_files_only=True)
    for text in ("", "def f(x):"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).ids == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.encode("").tokens == ["<|beginoftext|>", "<|endoftext|>"]


def test_windows_line_ends_and_no_config_will_do(words, tmp_path):
    folder = write(tmp_path, words, "oldest")
    (folder / "merges.txt").write_bytes((folder / "merges.txt").read_bytes().replace(b"\n", b"\r\n"))
    (folder / "tokenizer_config.json").unlink()
    assert tokenizer_in(folder).encode(TEXTS[3]).ids == tokenizer_in(write(tmp_path / "b", words)).encode(TEXTS[3]).ids


def test_a_tokenizer_json_is_taken_first(words, tmp_path):
    folder = write(tmp_path, words)
    causal.tokenizer().save(str(folder / "tokenizer.json"))
    assert tokenizer_in(folder).to_str() == causal.tokenizer().to_str()


def test_a_model_without_tokenizer_json_is_loaded(words, tmp_path, monkeypatch):
    monkeypatch.setattr(causal, "tokenizer", lambda: tokenizer_in(write(tmp_path / "words", words)))
    folder = causal.write_model(write(tmp_path / "model", words))
    (folder / "tokenizer.json").unlink()
    loaded = load(EngineSettings(checkpoint=str(folder), device="cpu", dtype="float32"))
    assert loaded.tokenizer.encode("def").ids == tokenizer_in(folder).encode("def").ids
    before = identity(folder, eight_bits(True))
    assert {"vocab.json", "merges.txt", "tokenizer_config.json"} <= before["files"].keys()
    (folder / "merges.txt").write_text((folder / "merges.txt").read_text("utf-8") + "\n", "utf-8")
    assert identity(folder, eight_bits(True)) != before


def config_with(**changed):
    """Change keys of tokenizer_config.json."""

    def change(folder):
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changed}))

    return change


def table_with(changed):
    """Change the table of added tokens; a value of None takes its entry away."""

    def change(folder):
        table = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["added_tokens_decoder"]
        table.update(changed(min(map(int, table))))
        config_with(added_tokens_decoder={key: value for key, value in table.items() if value is not None})(folder)

    return change


def says(name, text):
    return lambda folder: (folder / name).write_text(text, "utf-8")


def vocabulary_with(change):
    def changed(folder):
        vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
        change(vocabulary)
        (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")

    return changed


def more_merges(text):
    return lambda folder: (folder / "merges.txt").write_text((folder / "merges.txt").read_text("utf-8") + text, "utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda folder: (folder / "merges.txt").unlink(), CheckpointBroken, "lacks tokenizer.json, and merges.txt"),
        (lambda folder: (folder / "vocab.json").unlink(), CheckpointBroken, "lacks tokenizer.json, and vocab.json"),
        (says("vocab.json", "["), CheckpointBroken, "not valid JSON"),
        (says("vocab.json", "[" * 100_000), CheckpointBroken, "not valid JSON"),
        (says("vocab.json", "[]"), CheckpointBroken, "not a JSON object"),
        (says("vocab.json", "{}"), CheckpointBroken, "has 0 tokens"),
        (says("vocab.json", '{"a": 0, "a": 1}'), CheckpointBroken, "'a' is in it twice"),
        (says("vocab.json", '{"a": true}'), CheckpointBroken, "gives 'a' no number"),
        (says("vocab.json", '{"a": 0.0}'), CheckpointBroken, "gives 'a' no number"),
        (lambda folder: (folder / "vocab.json").write_bytes(b'{"\xff": 0}'), CheckpointBroken, "not text in UTF-8"),
        (vocabulary_with(lambda words: words.update(new=10**12)), CheckpointBroken, "ids are not 0 to"),
        (vocabulary_with(lambda words: words.update(new=-1)), CheckpointBroken, "ids are not 0 to"),
        (vocabulary_with(lambda words: words.update(new=0)), CheckpointBroken, "ids are not 0 to"),
        (more_merges("one\n"), CheckpointBroken, "no two tokens on line"),
        (more_merges("r e t\n"), CheckpointBroken, "no two tokens on line"),
        (more_merges("nowhere e\n"), CheckpointBroken, "names 'nowhere' on line"),
        (
            more_merges("e \ud83d\ude42\n".encode("utf-16", "surrogatepass").decode("utf-16")),
            CheckpointBroken,
            "on line",
        ),
        (
            lambda folder: more_merges((folder / "merges.txt").read_text("utf-8"))(folder),
            CheckpointBroken,
            "same merge",
        ),
        (config_with(tokenizer_class="LlamaTokenizer"), UnsupportedCheckpoint, "cannot build ('LlamaTokenizer')"),
        (config_with(tokenizer_class=["x"]), UnsupportedCheckpoint, "cannot build"),
        (config_with(add_prefix_space=True), UnsupportedCheckpoint, "cannot build"),
        (config_with(added_tokens_decoder=[]), CheckpointBroken, "no table of added tokens"),
        (config_with(added_tokens_decoder={"1": "x"}), CheckpointBroken, "added token that is none"),
        (config_with(additional_special_tokens="<x>"), CheckpointBroken, "no list of control tokens"),
        (config_with(mask_token="<nowhere>"), CheckpointBroken, "names the control token '<nowhere>', which has no id"),
        (config_with(mask_token=7), CheckpointBroken, "names a control token that is none"),
        (table_with(lambda n: {str(n + 2): None}), CheckpointBroken, "with gaps"),
        (table_with(lambda n: {str(n + 100): entry("<x>", True)}), CheckpointBroken, "with gaps"),
        (table_with(lambda n: {"5": entry("<x>", True)}), CheckpointBroken, "unlike vocab.json"),
        (table_with(lambda n: {str(n + 7): entry("a", False)}), CheckpointBroken, "unlike vocab.json"),
        (table_with(lambda n: {str(n + 7): entry(ADDED[0], True)}), CheckpointBroken, "two ids"),
        (table_with(lambda n: {f"0{n}": entry("<x>", True)}), CheckpointBroken, "one id"),
        (table_with(lambda n: {str(n + 7): entry("", True)}), CheckpointBroken, "without text"),
        (table_with(lambda n: {"-1": entry("<x>", True)}), CheckpointBroken, "added token that is none"),
        (table_with(lambda n: {"9" * 5000: entry("<x>", True)}), CheckpointBroken, "added token that is none"),
        (table_with(lambda n: {str(n + 7): entry("\ud800", True)}), CheckpointBroken, "is damaged"),
    ],
)
def test_anything_wrong_costs_a_sentence(damage, error, sentence, words, tmp_path):
    folder = write(tmp_path, words)
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        tokenizer_in(folder)
    assert type(caught.value) is error
    said = str(caught.value)
    assert sentence in said
    assert "\n" not in said
    assert len(said) < 600


def test_a_huge_file_is_not_read(words, tmp_path, monkeypatch):
    monkeypatch.setattr(bpe_tokenizer, "LARGEST", 1000)
    with pytest.raises(CheckpointBroken, match="too large"):
        tokenizer_in(write(tmp_path, words))


def test_a_folder_without_any_says_so(tmp_path):
    with pytest.raises(CheckpointBroken, match=r"lacks tokenizer.json \(looked in"):
        tokenizer_in(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_an_error_of_ours(words, tmp_path, data):
    kind = data.draw(st.sampled_from(["config", "older"]))
    folder = write(tmp_path / kind, words, kind)
    path = folder / data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    whole = path.read_bytes()
    at, end = (data.draw(st.integers(0, len(whole))) for _ in range(2))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=4)) + whole[max(at, min(end, at + 9)) :])
    with suppress(CheckpointError):
        tokenizer_in(folder)
