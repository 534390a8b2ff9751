"""Read the code of a folder as the server would: never what git ignores, what looks like a secret, or what lies outside."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from palimpsest_engine.errors import DocumentMissing
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_server.context import ignore
from palimpsest_server.context.workspace import FILE_BYTES, Workspace

MOST_BYTES = 64 * 1024 * 1024
# Other people's code, or no code at all, whether or not git is told to ignore it.
_FOREIGN = {
    "node_modules",
    "site-packages",
    "__pycache__",
    "vendor",
    "vendored",
    "_vendor",
    "third_party",
    "bower_components",
}
_NOT_CODE = {"json", "markdown", "toml", "yaml"}


@dataclass(slots=True)
class Repository:
    """A folder's code. left_out: how many files in the right languages were not read, by reason; filled by `read`."""

    folder: str
    languages: Collection[str]
    left_out: Counter[str] = field(default_factory=Counter)

    def read(self, seed: int) -> Iterator[tuple[str, str]]:
        """Yield (text, language) of each file, secrets in it blacked out, in a seeded order; of a huge repository no more
        than `MOST_BYTES`.

        languages: canonical names; empty for every one that is code. Raises DocumentMissing if there is no such folder.
        """
        if not os.path.isdir(self.folder):
            what = "a file, not a folder" if os.path.exists(self.folder) else "not there"
            raise DocumentMissing(f"{self.folder} is {what}; tuning reads a folder of code")
        workspace = Workspace([self.folder], ignore.Ignore([self.folder]).reason)
        found = sorted(self._files())
        random.Random(seed).shuffle(found)
        left = MOST_BYTES
        for path, language in found:
            look = workspace.look(path)
            if look.refusal:
                self.left_out[look.refusal.partition(" (")[0]] += 1
            elif len(look.text.encode("utf-8", "replace")) > FILE_BYTES - 4096:
                self.left_out["it is long"] += 1  # and may have been cut
            elif ignore.looks_secret(look.text):
                self.left_out["it holds a private key"] += 1
            elif left <= 0:
                self.left_out[f"more than {MOST_BYTES >> 20} MiB were read already"] += 1
            else:
                left -= len(look.text)
                yield ignore.redacted(look.text), language

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the paths whose names say that they are in one of the languages; no link is followed."""
        for folder, names, files in os.walk(self.folder):
            names[:] = [
                name
                for name in names
                if name not in _FOREIGN
                and not name.startswith(".")
                and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            ]
            for name in files:
                language = language_of(name, None)
                if language and (language in self.languages if self.languages else language not in _NOT_CODE):
                    yield os.path.join(folder, name), language
