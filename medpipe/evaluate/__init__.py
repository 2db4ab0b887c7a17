"""What a curriculum learned: the matrix checkpoint x domain, and its pictures."""
