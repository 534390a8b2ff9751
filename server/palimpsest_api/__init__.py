"""Answers other tools' questions for a middle over HTTP, with the engine that the editors use. Knows nothing of LSP."""
