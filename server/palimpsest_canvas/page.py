"""The files of the page, and the replay: one file that holds the page, its script and a recording, and reaches nothing."""

from __future__ import annotations

import hashlib
import html
import re
from base64 import b64encode
from pathlib import Path

from palimpsest_engine import PalimpsestError

STATIC = Path(__file__).parent / "static"
_STYLE = re.compile(r'<link\b[^>]*\bhref="/static/page\.css"[^>]*>')
_SCRIPT = re.compile(r'<script\b[^>]*\bsrc="/static/page\.js"[^>]*>\s*</script>')
_TITLE = re.compile(r"<title>[^<]*</title>")

CLOSED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Palimpsest</title></head>
<body><h1>This page is not open</h1>
<p>Its address works once. Open it anew: by the command of your editor, or by <code>palimpsest canvas</code>.</p>
<p>If a link on another page brought you here, <a href="/">go on</a>.</p></body></html>
"""


def asset(name: str, folder: Path = STATIC) -> str:
    """Return a file of the page. Raises PalimpsestError if this installation has none."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        raise PalimpsestError("The files of the page are missing: install palimpsest-ls again.") from None


def replay(recording: bytes, name: str, folder: Path = STATIC) -> str:
    """Return a page that plays a recording, given as JSON. Its own policy lets it load nothing and reach nothing."""
    style = asset("page.css", folder).replace("</style", "<\\/style")
    script = asset("page.js", folder).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    data = recording.decode().replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    page = asset("index.html", folder)
    page = _once(_STYLE, f"<style>{style}</style>", page)
    page = _once(_SCRIPT, "", page)
    page = _once(_TITLE, f"{meta}<title>{html.escape(name)} - Palimpsest</title>", page)
    parts = f'<script type="application/json" id="recording">{data}</script>\n<script>{script}</script>\n'
    head, end, tail = page.rpartition("</body>")
    assert end, "the page has a body"
    return head + parts + end + tail


def _once(pattern: re.Pattern[str], new: str, page: str) -> str:
    made, count = pattern.subn(lambda _: new, page)
    assert count == 1, f"the page has {pattern.pattern} once"
    return made


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
