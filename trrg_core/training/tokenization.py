"""Tokenizers: pretrained ones by name, or a byte-level BPE trained on the corpus, and safe encoding.

Texts in, padded token ids out. Special tokens that are written in a text are encoded as plain text.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trrg_core.config.weights_cache import resolve_pretrained
from trrg_core.errors import ConfigError
from trrg_core.report.masking import mask_corpus

_PAD, _BOS, _EOS = "<pad>", "<s>", "</s>"


def load_tokenizer(
    pretrained: str, texts: Iterable[str], *, vocabulary_size: int, lowercase: bool = False, revision: str = ""
) -> Any:
    """The tokenizer of the backbone `pretrained`, or one trained on `texts` if that is empty.

    `pretrained` is a Hugging Face name, at `revision` if that is given, a folder, or `weights:NAME`.
    A pretrained tokenizer without a padding token pads with its end token; masks, not ids, hide padding.

    Raises:
        ConfigError: if there is none, or it would need code of its own, which is never run.
    """
    if not pretrained:
        return train_tokenizer(texts, vocabulary_size=vocabulary_size, lowercase=lowercase)
    name, options = resolve_pretrained(pretrained), {"revision": revision} if revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except OSError as error:
        at = f" at revision {revision!r}" if revision else ""
        raise ConfigError(
            f"cannot load the tokenizer of {name!r}{at}: expected a cached model, or a folder with a tokenizer"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"the tokenizer of {name!r} is none that transformers knows, or code of its own, which is never run"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int, lowercase: bool = False) -> Any:
    """A byte-level BPE tokenizer of `texts`: any text can be encoded and decodes to itself (but for case).

    What looks like a name, a date or a number of a person is masked first: none of it becomes a token.
    """
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[_PAD, _BOS, _EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(mask_corpus(texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A {_EOS}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (_BOS, _EOS)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=_BOS,
        eos_token=_EOS,
        clean_up_tokenization_spaces=False,
    )


def encode_texts(
    tokenizer: Any, texts: Sequence[str], *, max_tokens: int, special_tokens: bool = True
) -> list[list[int]]:
    """Token ids of each text, at most `max_tokens`; special tokens inside a text are plain text."""
    if not texts:
        return []
    encoded = _encode(tokenizer, list(texts), max_tokens, special_tokens=special_tokens)
    return [list(ids) for ids in encoded["input_ids"]]


def encode_with_ends(tokenizer: Any, text: str, *, max_tokens: int) -> tuple[list[int], list[int], bool]:
    """Token ids of `text` without special tokens, the end of each in characters, and whether the text was truncated.

    Raises:
        NotImplementedError: for a slow tokenizer, which has no offsets.
    """
    # one more than is kept tells whether anything is cut
    encoded = _encode(tokenizer, text, max_tokens + 1, special_tokens=False, return_offsets_mapping=True)
    ids, ends = list(encoded["input_ids"]), [end for _, end in encoded["offset_mapping"]]
    return ids[:max_tokens], ends[:max_tokens], len(ids) > max_tokens


def _encode(tokenizer: Any, texts: Any, max_tokens: int, *, special_tokens: bool, **more: bool) -> Any:
    return tokenizer(
        texts,
        add_special_tokens=special_tokens,
        truncation=True,
        max_length=max_tokens,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        **more,
    )


def pad_ids(rows: Sequence[Sequence[int]], *, pad_id: int) -> tuple[Tensor, Tensor]:
    """`rows` right-padded to the longest: ids [N,T] int64 and mask [N,T] bool, T at least 1."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    mask = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = [token for row in rows for token in row]  # one copy: a small tensor per row costs 20 times as much
    return torch.from_numpy(ids), torch.from_numpy(mask)


def decode_ids(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of `ids` without special tokens, with single spaces."""
    return " ".join(tokenizer.decode(list(ids), skip_special_tokens=True).split())
