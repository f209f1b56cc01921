"""A tiny causal language model with random weights, and its tokenizer of bytes, as a Hugging Face folder."""

from pathlib import Path


def write_tiny_language_model(folder: Path, context: int = 1024) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, "<s>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    torch.manual_seed(0)
    ends = {"bos_token_id": len(alphabet), "eos_token_id": len(alphabet)}
    config = GPT2Config(vocab_size=len(vocabulary), n_positions=context, n_embd=16, n_layer=2, n_head=2, **ends)
    GPT2LMHeadModel(config).save_pretrained(folder, safe_serialization=True)
