"""Write the list of a release's parts into dist/, in CycloneDX's format: everything that an installation brings along.

The tool of CycloneDX describes the whole environment, which has developers' tools in it, too; only the parts that
`dependencies` finds are kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from dependencies import OURS, ROOT, RULES, Part, installed
from packaging.utils import canonicalize_name


def main() -> None:
    """Write the list into the folder named on the command line, else dist/."""
    into = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    version = distribution(OURS).version
    command = [
        "environment",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-reproducible",
        "--of",
        "JSON",
        "-o",
        "-",
    ]
    done = subprocess.run([sys.executable, "-m", "cyclonedx_py", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    bill = json.loads(done.stdout)
    root = bill["metadata"]["component"]
    assert canonicalize_name(root["name"]) == OURS
    root["version"] = version
    wanted = {part.name: part for part in installed() if "" in part.needed_by}
    bill["components"] = [each for each in bill["components"] if canonicalize_name(each["name"]) in wanted]
    assert {canonicalize_name(each["name"]) for each in bill["components"]} == set(wanted)
    for each in bill["components"]:
        each["licenses"] = licences(wanted[canonicalize_name(each["name"])])
    kept = {root["bom-ref"], *(each["bom-ref"] for each in bill["components"])}
    bill["dependencies"] = [
        {**each, "dependsOn": [ref for ref in each.get("dependsOn", []) if ref in kept]}
        for each in bill["dependencies"]
        if each["ref"] in kept
    ]
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    if fault := JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text):
        sys.exit(f"the list is not CycloneDX: {fault}")
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"palimpsest_ls-{version}.cdx.json"
    path.write_text(text, "utf-8")
    print(f"{len(wanted)} parts  {path.name}")


def licences(part: Part) -> list[dict[str, Any]]:
    """Return what CycloneDX says of a licence: that of docs/licences.md, and whether the part's metadata declare it."""
    by = "concluded" if part.name in RULES["read"] else "declared"
    if " " in part.licence:
        return [{"expression": part.licence, "acknowledgement": by}]
    return [{"license": {"id": part.licence, "acknowledgement": by}}]


if __name__ == "__main__":
    main()
