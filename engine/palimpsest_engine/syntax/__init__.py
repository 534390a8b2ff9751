"""Judge and describe code with tree-sitter and Python's own parser."""
