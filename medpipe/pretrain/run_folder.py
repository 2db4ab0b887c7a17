"""Names of the files in a run folder."""

RESULT = "result.json"
SPOOL = "metrics.jsonl"
STAGE = "stage.json"
CHECKPOINTS = "checkpoints"
FAILURE = "failure.txt"
RUNNING = "running.txt"
"""There while a trainer works, with its process id; one that is killed leaves it behind."""
