"""Answer LSP methods, one file a method."""
