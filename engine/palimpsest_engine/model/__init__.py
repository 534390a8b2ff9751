"""Run the model class: its layers, the passes, caches, numbers in few bits, the shortcuts of a CPU."""
