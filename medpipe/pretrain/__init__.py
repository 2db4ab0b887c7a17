"""Curriculum pretraining: plan, schedule, sample stream, model, loop, measure, checkpoints, trainer."""
