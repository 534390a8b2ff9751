"""A checkpoint's own chat template is rendered as the library renders it, and what it may do is bounded."""

from __future__ import annotations

import json
import os
import re

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from palimpsest_engine.checkpoint.chat_template import LARGEST, TEMPLATE, turns_of
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.spec import Chat, known_turns
from palimpsest_engine.errors import CheckpointBroken

# As DiffusionGemma's own: a turn of the system where the model may think, and a block of thoughts, or none.
TURNS = """\
{{- bos_token -}}
{%- set ns = namespace(seen=false) -%}
{%- if enable_thinking is defined and enable_thinking -%}
    {{- '<|turn>system\\n<|think|>\\n<turn|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set ns.seen = true -%}
    {{- '<|turn>' + message['role'] + '\\n' -}}
    {%- if message['content'] is string -%}{{- message['content'] | trim -}}{%- endif -%}
    {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\\n' -}}
    BLOCK
{%- endif -%}
"""
BLOCK = "{%- if not enable_thinking | default(false) -%}{{- '<|channel>thought\\n<channel|>' -}}{%- endif -%}"
TEMPLATES = {
    "plain": TURNS.replace("BLOCK", ""),
    "thought": TURNS.replace("BLOCK", BLOCK),
    "all that the library adds": """
{% for m in messages %}
  {% if m.role != 'user' %}{% continue %}{% endif %}
  {% generation %}[{{ m.content }}]{% endgeneration %}
    {% break %}
{% endfor %}
{{ {'a': '<é>', 'b': [1, none]} | tojson }} {{ tools is none }} {{ documents is none }} {{ eos_token }} {{ pad_token }}
{% set ns = namespace(x=1) %}{% set ns.x = ns.x + 1 %}{{ ns.x }} {{ strftime_now('%Y')[:1] }}
{%- macro f(a, b='"') -%}{{ b }}{{ a | upper }}{%- endmacro %}{{ f('x') }}
""",
}
SPECIAL = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}


def write(folder, template):
    (folder / TEMPLATE).write_text(template, "utf-8")
    return folder


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_turns_are_those_of_the_library(tmp_path, name, thinking):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **SPECIAL)
    theirs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "ASKED"}],
        chat_template=TEMPLATES[name],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=thinking,
    )
    ours = turns_of(write(tmp_path, TEMPLATES[name]), Chat(thinking=thinking))
    assert "ASKED".join(ours) == theirs


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("name", ["thought", "plain"])
def test_the_known_turns_are_those_of_templates_like_the_models(tmp_path, name, thinking):
    known = known_turns(Chat(name, thinking))
    assert turns_of(write(tmp_path, TEMPLATES[name]), Chat(thinking=thinking)) == known
    assert ("<|think|>" in known[0]) == thinking
    assert ("<|channel>" in known[1]) == (name == "thought" and not thinking)


def test_the_folder_decides_unless_the_description_does(tmp_path):
    assert read_spec(tmp_path).chat == Chat()  # nothing there: the known turns
    write(tmp_path, TEMPLATES["plain"])
    assert read_spec(tmp_path).chat.turns == known_turns(Chat("plain"))
    for chat, turns in (
        ({"template": "thought"}, None),
        ({"template": "plain"}, None),
        ({"template": "folder", "thinking": True}, known_turns(Chat("plain", thinking=True))),
        ({"turns": ["a\n", "b"]}, ("a\n", "b")),
    ):
        (tmp_path / "palimpsest.json").write_text(json.dumps({"name": "a", "chat": chat}), "utf-8")
        assert read_spec(tmp_path).chat.turns == turns
    described = {"name": "a", "dialect": "fim", "suffix_id": 1, "prefix_id": 2}
    (tmp_path / "palimpsest.json").write_text(json.dumps(described), "utf-8")
    write(tmp_path, "{% broken")
    assert read_spec(tmp_path).chat.turns is None  # another dialect asks for no template


@pytest.mark.parametrize("declared", ["<s>", {"content": "<s>", "lstrip": False}])
def test_a_template_is_told_the_tokens_that_the_tokenizer_declares(tmp_path, declared):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": declared, "pad_token": None}), "utf-8")
    write(tmp_path, "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ messages[0].content }}")
    assert turns_of(tmp_path, Chat()) == ("<s><eos><pad>", "")


BROKEN = {
    "a syntax error": ("{{ messages[0].content }", r"line 1"),
    "an end that is missing": ("{% if true %}{{ messages[0].content }}", "endif"),
    "its own complaint": ("{{ raise_exception('only \x1b[31m pictures') }}", "only .+ pictures"),
    "a division": ("{{ 1 // 0 }}{{ messages[0].content }}", "zero"),
    "something undefined": ("{{ nothing.at.all }}{{ messages[0].content }}", "undefined"),
    "a file to include": ("{% include '/etc/passwd' %}{{ messages[0].content }}", "loader"),
    "a file to import": ("{% import 'x' as x %}{{ messages[0].content }}", "loader"),
    "a file to extend": ("{% extends '/etc/hostname' %}{{ messages[0].content }}", "loader"),
    "Python": ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "unsafe"),
    "Python by a function": ("{{ raise_exception.__globals__.os }}{{ messages[0].content }}", "unsafe"),
    "Python by a format": ("{{ '{0.__class__.__name__}'.format(1) }}{{ messages[0].content }}", "unsafe"),
    "a change of what it is given": ("{{ messages.append(1) }}{{ messages[0].content }}", "unsafe"),
    "a name of its own in a namespace": ("{% set ns = namespace(__x=1) %}{{ messages[0].content }}", "no name __x"),
    "much memory": ("{{ 'a' * 10000000000 }}{{ messages[0].content }}", "memory"),
    "a long number": ("{{ messages[0].content }}{{ '%0900000000d' % 1 }}", "memory|characters"),
    "a long text": ("{% for i in range(99999) %}{{ messages[0].content }}{% endfor %}", "characters"),
    "a rather long text": ("{{ messages[0].content }}{{ 'a' * 20000 }}", "16,384 characters"),
    "no end": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "no question": ("{{ bos_token }}", "0 times"),
    "the question twice": ("{{ messages[0].content }}{{ messages[0].content }}", "2 times"),
    "the question in capitals": ("{{ messages[0].content | upper }}", "0 times"),
}


def refused(folder):
    with pytest.raises(CheckpointBroken) as caught:
        read_spec(folder)
    said = str(caught.value)
    assert said.isprintable()
    assert said.endswith(".")
    assert str(folder / TEMPLATE) in said
    assert len(said) < 350 + len(str(folder))
    return said


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_template_costs_one_sentence(tmp_path, name):
    template, reason = BROKEN[name]
    assert re.search(reason, refused(write(tmp_path, template)))


def test_a_template_that_does_not_end_is_ended(tmp_path):
    loop = "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}"
    assert "takes too long" in refused(write(tmp_path, loop + "{{ messages[0].content }}"))


def test_a_file_that_is_no_template_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path, "x" * (LARGEST + 1)) / TEMPLATE
    assert "bytes" in refused(tmp_path)
    path.write_bytes(b"\xff\xfe{{ messages }}")
    assert "UTF-8" in refused(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert "is no file" in refused(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    assert "cannot be read" in refused(tmp_path)


def test_a_template_is_rendered_once_for_a_checkpoint(tmp_path, monkeypatch):
    from palimpsest_engine.checkpoint import chat_template

    asked = []
    rendered = chat_template._rendered
    monkeypatch.setattr(chat_template, "_rendered", lambda *given: asked.append(given) or rendered(*given))
    write(tmp_path, TEMPLATES["plain"] + "{# once #}")
    assert read_spec(tmp_path) == read_spec(tmp_path)
    assert len(asked) == 1
