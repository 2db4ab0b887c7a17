"""The corpus as token ids: tokenizer, shards, and the snapshot that pins both."""
