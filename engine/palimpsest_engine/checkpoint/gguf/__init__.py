"""Reads GGUF files: their header and tensors (`reader.py`, `file.py`), their tokenizer, and those of DiffusionGemma."""
