"""What checkpoints are worth: the matrix checkpoint x domain and its pictures."""

CODE_VERSION = "1"
"""Raised by hand whenever the same checkpoints would give another report."""
HEAT_MAP = "bits_per_byte.png"
LOSS_CURVE = "loss.png"
