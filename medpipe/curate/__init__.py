"""One corpus from many sources: exact duplicates removed across them, quality tiers, the split."""
