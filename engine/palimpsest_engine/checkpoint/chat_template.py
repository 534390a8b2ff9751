"""Find what surrounds a question in the `chat` dialect: by the checkpoint's own template.

A template is foreign code, if in a sandbox. So a process of its own renders it (`template_process.py`), which has little
memory and little time, and once for a checkpoint: with a mark for the question, at which the text is then cut in two.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.locate import read_json
from palimpsest_engine.checkpoint.spec import Chat, Turns
from palimpsest_engine.errors import CheckpointBroken

__all__ = ["LONGEST", "TEMPLATE", "turns_of"]

TEMPLATE, TOKENS = "chat_template.jinja", "tokenizer_config.json"
LARGEST = 1 << 18  # bytes of a template; DiffusionGemma's has 17,000
LONGEST = 1 << 14  # characters of the turns
SECONDS = 20.0  # for a process to start and render; a template takes milliseconds
_MARK = "palimpsest asks here"
_ENGINE = str(Path(__file__).parents[2])
_CODE = "import sys; sys.path[:] = {path!r}; from runpy import run_module; run_module({module!r}, run_name='__main__')"
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


def turns_of(folder: Path, chat: Chat) -> Turns | None:
    """Return the turns around a question to the checkpoint in a folder; None for those that are known.

    Raises CheckpointBroken for a broken template.
    """
    path = folder / TEMPLATE
    if chat.turns is not None or chat.template != "folder" or not os.path.lexists(path):
        return chat.turns
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise CheckpointBroken(f"{path} is no file, or has more than {LARGEST:,} bytes.")
        template = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CheckpointBroken(f"{path} cannot be read: {reason}.") from None
    return turns_by(template, chat, _special(folder), str(path))


def turns_by(template: str, chat: Chat, special: dict[str, str], where: str) -> Turns:
    """Return the turns that a template writes. special: the tokens that it may ask for, by their roles.

    Raises CheckpointBroken for a broken one.
    """
    try:
        return _turns(template, chat.thinking, json.dumps(special))
    except ValueError as error:
        raise CheckpointBroken(f"The chat template {where} cannot be used: {error}.") from None


def _special(folder: Path) -> dict[str, str]:
    """Return the tokens that a template may ask for by their roles, as the tokenizer's files name them."""
    names = {role: f"<{role.removesuffix('_token')}>" for role in _SPECIAL}
    declared: dict[str, Any] = read_json(folder / TOKENS) if os.path.lexists(folder / TOKENS) else {}
    for role in _SPECIAL:
        value = declared.get(role)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            names[role] = value
    return names


@lru_cache(maxsize=8)
def _turns(template: str, thinking: bool, special: str) -> Turns:
    """Render a template around the mark. Raises ValueError with the reason why it is of no use."""
    variables = {
        **json.loads(special),
        "messages": [{"role": "user", "content": _MARK}],
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        "enable_thinking": thinking,
    }
    shown = _rendered(template, variables)
    if len(shown) > LONGEST:
        raise ValueError(f"it writes more than {LONGEST:,} characters around a question")
    if shown.count(_MARK) != 1:
        raise ValueError(f"it writes the user's question {shown.count(_MARK)} times, not once")
    before, after = shown.split(_MARK)
    return before, after


def _rendered(template: str, variables: dict[str, Any]) -> str:
    """Have a process of its own render a template. Raises ValueError."""
    path = [_ENGINE, *(each for each in sys.path if os.path.isabs(each))]
    code = _CODE.format(path=path, module="palimpsest_engine.checkpoint.template_process")
    try:
        done = subprocess.run(
            # -S: the path has what `site` would add. -P: no module comes from the folder that it starts in.
            [sys.executable, "-P", "-S", "-c", code],
            input=json.dumps([template, variables]),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=SECONDS,
            cwd=os.sep,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it takes over {SECONDS:g} s") from None
    except OSError as error:
        raise ValueError(f"no process can be started for it ({error.strerror})") from None
    try:
        answer: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        raise ValueError("it takes too long, or too much memory") from None
    if "error" in answer:
        raise ValueError("".join(each if each.isprintable() else "?" for each in answer["error"]))
    return answer["text"]
