"""Measurements inside the engine, for `palimpsest bench`. Alternatives are timed in turns within one run.

`subject.py` holds the model that is measured, `timing.py` the clocks, and `hardware.py` the limits of the machine. Each
other module measures one thing: `steps.py`, `contexts.py`, `peers.py`, `fills.py`, `quantize_error.py`.
"""
