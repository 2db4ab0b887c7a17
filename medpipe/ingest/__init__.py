"""Bytes in: hub snapshots pinned by revision, local folders, readers for every format."""
