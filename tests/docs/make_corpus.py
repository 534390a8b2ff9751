"""Write a corpus of a few files of this repository into corpus/, as `python -m palimpsest_train corpus` does of others'."""

import json
from pathlib import Path

FILES = sorted((Path(__file__).parents[2] / "server" / "palimpsest_server").rglob("*.py"))[:40]

(folder := Path("corpus")).mkdir(exist_ok=True)
for split, files in (("train", FILES[4:]), ("held_out", FILES[:4])):
    rows = ({"package": file.stem, "path": file.name, "text": file.read_text("utf-8")} for file in files)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
