"""A source's own records become documents, conversations or preferences."""
