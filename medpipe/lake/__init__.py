"""Where data lies: layout, manifests, digests, atomic commit."""
