"""Own the thread of the model: open an engine, fall back to a smaller one, say what is wrong on this machine."""
