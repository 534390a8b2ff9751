"""Hold open documents, their text, history and places."""
