"""Models small enough to be made and trained inside a test: 60,000 random parameters, and a tokenizer of bytes."""

import importlib
from pathlib import Path
from typing import Any

EOS = "<|endoftext|>"


def tiny_model(folder: Path, positions: int = 512, seed: int = 0) -> Path:
    """Write a causal language model with its tokenizer into `folder`, in the form that transformers loads."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    tokenizers: Any = importlib.import_module("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {EOS: 0, **{letter: number for number, letter in enumerate(alphabet, start=1)}}
    bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bytes_.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_, bos_token=EOS, eos_token=EOS, pad_token=EOS, model_max_length=positions
    ).save_pretrained(str(folder))
    torch.manual_seed(seed)
    config = transformers.Starcoder2Config(
        vocab_size=len(vocabulary), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=positions, sliding_window=None, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, dtype="float32",
    )  # fmt: skip
    transformers.Starcoder2ForCausalLM(config).save_pretrained(str(folder))
    return folder
