"""Ask a server over HTTP for middles: where it is, what it speaks, what it is told, where its answer ends. No tensors."""
