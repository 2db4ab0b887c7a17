"""Near-duplicates: texts that share most of their shingles, found by MinHash and locality-sensitive hashing.

`store` keeps the signatures of one source, `clusters` links the documents of all sources, `best` says
which member of a cluster stays, `overlap` counts what two sources share.
"""

CODE_VERSION = "1"
"""Changes with every change to what signatures are made of, the fold of content keys included."""
