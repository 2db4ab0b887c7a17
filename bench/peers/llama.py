"""The bench's model as transformers' configuration, for the sides that are not medpipe's."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig


def llama_config(facts: dict[str, Any]) -> LlamaConfig:
    """The demo's shape."""
    model = facts["model"]
    return LlamaConfig(
        vocab_size=facts["vocabulary_size"],
        hidden_size=model["hidden_size"],
        num_hidden_layers=model["layers"],
        num_attention_heads=model["heads"],
        num_key_value_heads=model["kv_heads"],
        intermediate_size=model["intermediate_size"],
        tie_word_embeddings=model["tie_embeddings"],
        max_position_embeddings=model["max_position"],
        use_cache=False,
    )
