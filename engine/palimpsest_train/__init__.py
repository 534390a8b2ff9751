"""Train Palimpsest checkpoints: corpus, tokenizer, packed training, export."""
