"""Turn one request into one answer: candidates, their judging, and the text that comes of them."""
