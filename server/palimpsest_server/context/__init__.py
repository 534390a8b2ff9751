"""Choose what the model may see of other places."""
