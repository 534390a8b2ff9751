"""Name the classes of transformers that this engine runs, by the `model_type` of their configs. Imports nothing."""

from __future__ import annotations

# Left to right. What these have in common is all that `forward.py` needs.
CAUSAL = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}
