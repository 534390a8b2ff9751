"""Turn tokens into tokens: denoising, left to right, scores. Knows tensors, no text, no policy."""
