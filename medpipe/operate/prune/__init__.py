"""Keeps event logs, checkpoints and snapshots within limits; what anybody needs stays."""
