"""Which corpora exist: the source model, the built-in entries, a person's own entries."""
