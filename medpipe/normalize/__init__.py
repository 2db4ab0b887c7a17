"""A source's own records become documents, conversations or preferences."""

CODE_VERSION = "1"
"""Raised by hand whenever the same rows would give other records."""
