"""Writes text with a trained model: greedy or top-k sampling with a key-value cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from medpipe.lake.manifest import MANIFEST
from medpipe.pretrain.checkpoint import CheckpointError, verify_checkpoint
from medpipe.pretrain.model import load_pretrained
from medpipe.pretrain.published_model import PublishedModelError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    max_new_tokens: int = 48
    top_k: int = 1
    """Draw among this many likeliest tokens; 1 is greedy."""
    temperature: float = 1.0
    seed: int = 0


@torch.inference_mode()
def generate_tokens(
    model: nn.Module,
    prompt: list[int],
    *,
    eos_id: int,
    sampling: Sampling = Sampling(),
    use_cache: bool = True,
) -> list[int]:
    """Continues a prompt of one document.

    Args:
        model: a causal language model of transformers.
        prompt: token ids, without the begin mark; may be empty.
        eos_id: id of `<eos>`: put before the prompt as begin mark, ends the text when drawn.
        sampling: how tokens are chosen.
        use_cache: keep keys and values of earlier positions instead of computing them again.

    Returns:
        The new token ids, without a closing `<eos>`. The text ends early where the model's positions end.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(sampling.seed)
    tokens = [eos_id, *prompt]
    limit = int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
    was_training = model.training
    model.eval()
    cache = None
    new: list[int] = []
    try:
        while len(new) < sampling.max_new_tokens and len(tokens) < limit:
            fed = tokens[-1:] if cache is not None else tokens
            output = model(
                input_ids=torch.tensor([fed], device=device), past_key_values=cache, use_cache=use_cache
            )
            cache = output.past_key_values if use_cache else None
            token = _choose(output.logits[0, -1].float().cpu(), sampling, generator)
            if token == eos_id:
                break
            tokens.append(token)
            new.append(token)
    finally:
        model.train(was_training)
    return new


def _choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    if sampling.top_k <= 1:
        return int(logits.argmax())
    best, ids = logits.topk(min(sampling.top_k, logits.numel()))
    weights = torch.softmax(best / sampling.temperature, dim=-1)
    return int(ids[torch.multinomial(weights, 1, generator=generator)])


def generate_text(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    eos_id: int,
    sampling: Sampling = Sampling(),
) -> str:
    """The prompt and its continuation; broken UTF-8 at the end is left out."""
    tokenizer.encode_special_tokens = True  # a prompt that holds the characters `<eos>` is plain text
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    new = generate_tokens(model, prompt_ids, eos_id=eos_id, sampling=sampling)
    return prompt + tokenizer.decode(new).rstrip("\N{REPLACEMENT CHARACTER}")


def continue_prompts(folder: Path, prompts: Sequence[str], *, sampling: Sampling = Sampling()) -> list[str]:
    """Loads a checkpoint once and continues each prompt, on the CPU in fp32.

    Args:
        folder: a checkpoint of a run, verified first, or a folder of transformers with `tokenizer.json`.
        prompts: plain text; empty begins a document.
        sampling: how tokens are chosen, the same for each prompt.

    Raises:
        CheckpointError: there is no model in the folder, or it is damaged.
    """
    lacking = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if lacking:
        raise CheckpointError(
            f"{folder} has no {' and no '.join(lacking)}; name a checkpoint's folder, such as "
            "<lake>/runs/<plan>/<stage>/checkpoints/00000400"
        )
    if (folder / MANIFEST).is_file():
        verify_checkpoint(folder)
    try:
        model = load_pretrained(folder)
    except PublishedModelError as error:
        raise CheckpointError(str(error)) from None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends = model.config.eos_token_id
    eos_id = int(ends[0] if isinstance(ends, list) else ends)
    return [generate_text(model, tokenizer, prompt, eos_id=eos_id, sampling=sampling) for prompt in prompts]
