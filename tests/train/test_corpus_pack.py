"""Token arrays: documents that are repeated, and the archive for another machine."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_train.__main__ import main
from palimpsest_train.arrays import repeated, repeats_of
from palimpsest_train.errors import CorpusError
from palimpsest_train.pack import base_of, pack, unpack
from palimpsest_train.tokenizer import new_tokenizer


def arrays(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    return np.array(list(chain.from_iterable(documents)), dtype=np.uint16), starts


def split(tokens: np.ndarray, starts: np.ndarray) -> list[list[int]]:
    return [tokens[a:b].tolist() for a, b in pairwise(starts)]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 4)), min_size=1, max_size=8)
)
def test_each_document_is_written_as_often_as_it_should_be(case: list[tuple[list[int], int]]):
    documents, times = [d for d, _ in case], [n for _, n in case]
    new = split(*repeated(*arrays(documents), times))
    assert sorted(map(tuple, new)) == sorted(tuple(d) for d, n in case for _ in range(n))
    once = [d for d, n in case if n]
    assert new[: len(once)] == once


def test_documents_are_repeated_as_their_group_says(tmp_path: Path):
    rows = [{"group": "a", "text": ""}, {"text": ""}, {"group": "b", "text": ""}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert repeats_of(tmp_path / "train.jsonl", {"a": 3, "b": 0}) == [3, 1, 0]


def write_corpus(folder: Path) -> Path:
    """Thirty documents of which ten are of the repeated group, and a tokenizer from elsewhere."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("held_out", 4), ("held_out.go", 3)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for i in range(count):
                text = " ".join(f"x{rng.integers(10**6)}" for _ in range(120))
                out.write(json.dumps({"group": "algorithms" if i % 3 == 0 else "python", "text": text}) + "\n")
    new_tokenizer(["x1 2 3 4 5 6 7 8 9 0 def return"], 300).save(str(folder.parent / "tokenizer.json"))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_corpus(tmp_path / "corpus")
    options = ["--corpus", str(folder), "--tokenizer", str(tmp_path / "tokenizer.json"), "--repeat", "algorithms=3"]
    result = CliRunner().invoke(main, ["tokens", *options])
    assert result.exit_code == 0, result.output
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def test_tokens_with_a_tokenizer_that_is_there(corpus: Path):
    assert (corpus / "tokenizer.json").read_text("utf-8") == (corpus.parent / "tokenizer.json").read_text("utf-8")
    documents = split(np.load(corpus / "train.npy"), np.load(corpus / "train.starts.npy"))
    assert len(documents) == 20 + 3 * 10
    assert documents[30:40] == documents[40:50] == documents[:30:3]
    assert len(np.load(corpus / "held_out.starts.npy")) == 5
    assert len(np.load(corpus / "held_out.go.starts.npy")) == 4
    assert not list(corpus.glob("*.part"))


def test_packed_arrays_are_unpacked_to_the_same_files(corpus: Path, tmp_path: Path):
    packed = pack(corpus, tmp_path / "c.tar.xz", 10**7)
    assert (packed.documents, packed.of) == (30, 30)
    assert packed.size == (tmp_path / "c.tar.xz").stat().st_size
    count = unpack(tmp_path / "c.tar.xz", tmp_path / "there")
    assert files(tmp_path / "there") == files(corpus)
    assert count == len(np.load(corpus / "train.npy"))


def test_a_limit_leaves_out_whole_documents_and_repeated_ones_last(corpus: Path, tmp_path: Path):
    whole = pack(corpus, tmp_path / "whole.tar.xz", 10**7)
    limit = whole.size * 2 // 3
    packed = pack(corpus, tmp_path / "c.tar.xz", limit, seed=1)
    assert packed.size <= limit
    assert 10 <= packed.documents < 30
    again = pack(corpus, tmp_path / "d.tar.xz", limit, seed=1)
    assert (tmp_path / "c.tar.xz").read_bytes() == (tmp_path / "d.tar.xz").read_bytes()
    assert again == packed
    pack(corpus, tmp_path / "e.tar.xz", limit, seed=2)
    assert (tmp_path / "e.tar.xz").read_bytes() != (tmp_path / "c.tar.xz").read_bytes()
    unpack(tmp_path / "c.tar.xz", tmp_path / "there")
    tokens, starts, times = base_of(tmp_path / "there")
    kept, (all_tokens, all_starts, _) = split(tokens, starts), base_of(corpus)
    assert all(document in split(all_tokens, all_starts) for document in kept)
    assert np.sum(times == 3) == 10
    assert (tmp_path / "there" / "held_out.npy").read_bytes() == (corpus / "held_out.npy").read_bytes()


def test_a_limit_that_cannot_be_met_leaves_nothing_behind(corpus: Path, tmp_path: Path):
    with pytest.raises(CorpusError, match="cannot be smaller than"):
        pack(corpus, tmp_path / "c.tar.xz", 100)
    assert not list(tmp_path.glob("c.tar.xz*"))


def test_a_corpus_without_arrays_cannot_be_packed(tmp_path: Path):
    with pytest.raises(CorpusError, match="run `tokens` first"):
        pack(tmp_path, tmp_path / "c.tar.xz", 10**6)


def test_an_archive_cut_short_writes_nothing(corpus: Path, tmp_path: Path):
    pack(corpus, tmp_path / "c.tar.xz", 10**7)
    data = (tmp_path / "c.tar.xz").read_bytes()
    (tmp_path / "c.tar.xz").write_bytes(data[: len(data) // 2])
    result = CliRunner().invoke(main, ["unpack", str(tmp_path / "c.tar.xz"), "--corpus", str(tmp_path / "there")])
    assert result.exit_code == 1
    assert "no whole archive" in result.output
    assert not list((tmp_path / "there").iterdir())


def test_a_foreign_archive_is_refused_and_writes_nothing_outside(corpus: Path, tmp_path: Path):
    def archive(names: dict[str, bytes]) -> Path:
        path = tmp_path / "evil.tar.xz"
        with lzma.open(path, "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in names.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    with pytest.raises(CorpusError, match="none that `pack` has written"):
        unpack(archive({"README": b"hello"}), tmp_path / "there")
    data = {f"train{end}": (corpus / f"train{end}").read_bytes() for end in (".npy", ".starts.npy", ".times.npy")}
    pickled = io.BytesIO()
    np.save(pickled, np.array([object()]), allow_pickle=True)
    with pytest.raises(CorpusError, match="none that `pack` has written"):
        unpack(archive(data | {"train.npy": pickled.getvalue()}), tmp_path / "there")
    outside = {"../out.npy": data["train.npy"], "/abs.npy": data["train.npy"], "x/y.npy": data["train.npy"]}
    tokens, starts, times = base_of(corpus)
    whole = {}
    for name, array in (("train.npy", tokens), ("train.starts.npy", starts), ("train.times.npy", times)):
        out = io.BytesIO()
        np.save(out, array)
        whole[name] = out.getvalue()
    unpack(archive(whole | outside), tmp_path / "there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {
        "train.npy",
        "train.starts.npy",
        "train.times.npy",
    }
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(("option", "message"), [("algorithms", "GROUP=N"), ("cobol=3", "there is no group 'cobol'")])
def test_bad_repeats_are_refused(corpus: Path, option: str, message: str):
    before = files(corpus)
    result = CliRunner().invoke(main, ["tokens", "--corpus", str(corpus), "--repeat", option])
    assert result.exit_code
    assert message in result.output
    assert files(corpus) == before
