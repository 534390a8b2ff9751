"""Trains a LoRA that makes a left-to-right coder of the Qwen2 class denoise; runs on a CPU and on one GPU."""
