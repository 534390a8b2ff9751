"""The trainer of Palimpsest checkpoints: corpus, tokenizer, packed training, export."""
