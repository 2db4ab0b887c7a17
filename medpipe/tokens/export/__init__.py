"""Shards in the layouts that other trainers read."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A layout that another program reads."""

    NANOGPT = "nanogpt"
    MEGATRON = "megatron"
    DATATROVE = "datatrove"
    TEXT = "text"
    DATASETS = "datasets"
