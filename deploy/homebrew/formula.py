"""Write the Homebrew formula of a release: `formula.py SDIST URL HOMEPAGE > palimpsest.rb`.

SDIST is the file that will be at URL; its hash is computed here, so it has to be the very file that was uploaded.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from pathlib import Path

TEMPLATE = Path(__file__).with_name("palimpsest.rb.in")
NEEDED = "constraints/newest.txt"


def formula(sdist: Path, url: str, homepage: str) -> str:
    """Return the formula. Raise SystemExit with a sentence if the file and the address do not belong together."""
    if not url.startswith("https://") or url.rpartition("/")[2] != sdist.name:
        raise SystemExit(f"formula.py: {url} is no https address that ends with {sdist.name}")
    with tarfile.open(sdist) as archive:
        if not any(name.partition("/")[2] == NEEDED for name in archive.getnames()):
            raise SystemExit(f"formula.py: {sdist.name} has no {NEEDED}, which the formula installs by")
    values = {"URL": url, "HOMEPAGE": homepage, "SHA256": hashlib.sha256(sdist.read_bytes()).hexdigest()}
    return re.sub(r"@([A-Z0-9]+)@", lambda found: values[found[1]], TEMPLATE.read_text("utf-8"))


if __name__ == "__main__":
    file, address, home = sys.argv[1:]
    print(formula(Path(file), address, home), end="")
