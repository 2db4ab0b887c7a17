"""Curriculum pretraining: plan, schedule, sample stream, model, loop, measure, checkpoints, trainer."""

CODE_VERSION = "1"
"""Version of everything that decides a stage's bytes besides the plan: stream, masks, loop."""
