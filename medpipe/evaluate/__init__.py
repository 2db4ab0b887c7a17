"""What checkpoints are worth: the matrix checkpoint x domain, its pictures, and the best one registered."""

CODE_VERSION = "3"
"""Raised by hand whenever the same checkpoints would give another report."""
HEAT_MAP = "bits_per_byte.png"
BITS_CURVE = "bits_per_byte_by_domain.png"
LOSS_CURVE = "loss.png"
