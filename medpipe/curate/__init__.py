"""One corpus from many sources: exact duplicates removed across them, quality tiers, the split."""

CODE_VERSION = "3"
"""Raise it when the same input gives another corpus."""
