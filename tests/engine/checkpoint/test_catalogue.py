"""The catalogue says only what is known, and what it says is well-formed."""

from __future__ import annotations

import re

import pytest

from palimpsest_engine.checkpoint import catalogue, store
from palimpsest_engine.checkpoint.catalogue import Entry, entries, parse, size_text

HEX = {"revision": r"[0-9a-f]{40}", "sha256": r"[0-9a-f]{64}"}


@pytest.mark.parametrize("entry", entries(), ids=lambda each: each.name)
def test_every_entry_is_well_formed(entry: Entry) -> None:
    assert store.folder_of(entry.name).name == entry.name
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repository)
    assert entry.revision is None or re.fullmatch(HEX["revision"], entry.revision)
    assert entry.title
    assert entry.abilities
    for file in entry.files:
        assert (file.size is None) == (file.sha256 is None)
        assert file.sha256 is None or re.fullmatch(HEX["sha256"], file.sha256)
        assert not file.packages or file.sha256, "packages are trusted for their hash alone"
    if entry.quality != catalogue.NOT_MEASURED:
        assert entry.quality_of


def test_names_and_hashes_are_unique() -> None:
    names = [entry.name for entry in entries()]
    hashes = [file.sha256 for entry in entries() for file in entry.files if file.sha256]
    assert len(set(names)) == len(names)
    assert len(set(hashes)) == len(hashes)


def test_the_smallest_coder_is_pinned_to_the_known_file() -> None:
    entry = catalogue.entry("qwen2.5-coder-0.5b")
    assert entry is not None
    assert entry.pinned
    assert (entry.licence, entry.size, entry.revision) == (
        "Apache-2.0",
        491_400_064,
        "ebb2015119c907b064c512bf053e945850b5875f",
    )
    assert entry.files[0].sha256 == "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"


def test_a_key_that_is_left_out_is_not_known() -> None:
    (entry,) = parse('[[model]]\nname = "x"\ntitle = "X"\nrepository = "a/x"\nram = 1.5\n[[model.file]]\nname = "f"\n')
    assert (entry.revision, entry.licence, entry.size, entry.pinned) == (None, None, None, False)
    assert (entry.ram, entry.vram, entry.quality) == (1_500_000_000, None, "not measured here")
    assert (entry.vram_int8, entry.vram_int4) == (None, None)


def test_a_key_that_is_misspelled_is_an_error() -> None:
    with pytest.raises(TypeError):
        parse('[[model]]\nname = "x"\ntitle = "X"\nrepository = "a/x"\nlicense = "MIT"\n')


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "not known here"),
        (12, "12 bytes"),
        (1500, "1.5 kB"),
        (491_400_064, "491 MB"),
        (4_683_073_536, "4.7 GB"),
        (52_000_000_000, "52 GB"),
    ],
)
def test_sizes_are_written_as_on_download_pages(size: int | None, text: str) -> None:
    assert size_text(size) == text
