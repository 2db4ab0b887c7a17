"""Bytes in: hub snapshots pinned by revision, local folders, readers for every format."""

CODE_VERSION = "raw-1"
"""Raised by hand whenever the same revision would give other files."""
