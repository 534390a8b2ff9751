"""Measurements inside the engine, for `palimpsest bench`: what is compared is timed by turns in one run. Not a test.

`subject.py` is what is measured, `timing.py` how; `hardware.py` is what the machine could do at best. The others measure one
thing each: `steps.py`, `contexts.py`, `peers.py`, `fills.py`, `errors.py`.
"""
