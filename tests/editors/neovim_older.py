"""Drives the oldest Neovim that the plugin is for, 0.11, which has no inline completion of its own."""

from __future__ import annotations

from functools import partial

from editors import neovim

start = partial(neovim.start, line="0.11")
