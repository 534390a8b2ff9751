"""Fine-tune a checkpoint on somebody's own code: LoRA through peft, measured on files that were held out."""
