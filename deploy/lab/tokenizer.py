"""The lab model's tokenizer: byte-level BPE over the corpus, so that any text can be encoded."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
"""Begins each document of the corpus, and ends a reply where no stop string does."""

# What no token crosses: indentation stands with its line break, a word with the space before it, digits stand alone.
# A name such as DataHelper is two words: as one token of many it would not be copied from a task into its answer.
_PARTS = r"\n+ *| ?[A-Z]+(?![a-z])| ?[A-Z]?[a-z]+|[0-9]|(?: ?[^\sA-Za-z0-9]+)+| +|\s+"


def train(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of `vocabulary` tokens."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PARTS), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    special = dict.fromkeys(("eos_token", "bos_token", "pad_token", "unk_token"), END)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=context, **special)
