"""Fine-tune a checkpoint on a user's own code: LoRA through peft, measured on files that were held out."""
