"""Names of the files in a run folder."""

RESULT = "result.json"
SPOOL = "metrics.jsonl"
STAGE = "stage.json"
CHECKPOINTS = "checkpoints"
FAILURE = "failure.txt"
