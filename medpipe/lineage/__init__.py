"""From a token back to its row, from a row on to its checkpoints, and out again."""
