"""MLflow: the spool that a trainer writes, the runs it becomes, its checkpoints, links both ways."""
