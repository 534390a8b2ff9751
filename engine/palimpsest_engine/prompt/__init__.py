"""Turn text into tokens: pieces, dialects, layout. No tensors."""
