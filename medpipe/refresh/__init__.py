"""Keeping the corpus up to date while nobody looks: what changed, when it is fetched, who is told."""
