"""A source's own records become documents, conversations or preferences."""

CODE_VERSION = "2"
"""Raised by hand whenever the same rows would give other records."""
