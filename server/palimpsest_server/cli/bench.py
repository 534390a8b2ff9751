"""`palimpsest bench`: what a keystroke costs on this machine, medians with their spread and ratios in one run."""
