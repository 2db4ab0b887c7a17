"""medpipe: one Dagster graph from public medical corpora to a traceable language model."""

__version__ = "0.1.0"
