"""Everything that a GPU has to show, in one command of nine minutes: `python -m palimpsest_bench.gpu`.

`run.py` starts a process for each part and writes down what it says; it imports no torch. `worker.py` is that process.
`parity.py` compares each GPU path with the plain one, `speed.py` times them, `report.py` makes tables.
"""
