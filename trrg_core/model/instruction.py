"""The instruction of the LLM as token ids: what comes before the visual tokens and clues, and what after them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.training.batch import Batch
from trrg_core.training.tokenization import encode_texts

SECTION = "{section}"  # stands in `finetune.prompt` for the report section that is learned
_MAX_TOKENS = 256
# stand for what has no words: the visual tokens and clues, and the clues in words
_VISUAL, _CLUES = "[[trrg-visual]]", "[[trrg-clues]]"


class Instruction(NamedTuple):
    """Token ids, in the order in which the LLM reads them.

    Between `before` and `words` are the visual tokens and clues, between `words` and `after` the clues in words if
    there are any, and after `after` the report. Without a chat template `before` and `after` are empty.
    """

    before: list[int]
    words: list[int]
    after: list[int]


def instruction_text(config: TrrgConfig) -> str:
    """`finetune.prompt` with the name of the report section that is learned."""
    return config.finetune.prompt.replace(SECTION, config.shard.section.replace("+", " and "))


def context_texts(batch: Batch, context: Sequence[str]) -> list[str]:
    """What the instruction tells of each study beside its image: `context` of "indication" and "prior", in that order.

    Empty for a study of which nothing is known.
    """
    nothing = ("",) * len(batch)
    known = zip(batch.indications or nothing, batch.prior_reports or nothing, strict=True)
    return [context_text(context, indication=indication, prior=prior) for indication, prior in known]


def context_text(context: Sequence[str], *, indication: str, prior: str) -> str:
    """As `context_texts`, of one study."""
    known = {"indication": ("Indication", indication), "prior": ("Earlier report", prior)}
    return "".join(f" {heading}: {text}" for name, (heading, text) in known.items() if text and name in context)


def encode_instruction(tokenizer: Any, text: str, *, chat_template: bool) -> Instruction:
    """The instruction `text` to the LLM of `tokenizer`.

    Args:
        tokenizer: of the LLM.
        text: in words.
        chat_template: whether to put it into the chat template of the tokenizer, if that has one: as the message of a
            user, which the report answers.

    Raises:
        ConfigError: if the chat template does not show the message of a user once.
    """
    if not (chat_template and getattr(tokenizer, "chat_template", None)):
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        words = encode_texts(tokenizer, [text], max_tokens=_MAX_TOKENS, special_tokens=False)[0]
        return Instruction(before=[], words=[*start, *words], after=[])
    before, words, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in _render(tokenizer, text))
    return Instruction(before=before, words=words, after=after)


def _render(tokenizer: Any, text: str) -> tuple[str, str, str]:
    message = {"role": "user", "content": f"{_VISUAL}{text}{_CLUES}"}
    try:
        rendered = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever a template or its engine raises
        raise _refusal(f"{type(error).__name__} when it was applied") from error
    if rendered.count(_VISUAL) != 1 or rendered.count(_CLUES) != 1:
        raise _refusal(f"it showed that {rendered.count(_VISUAL)} times")
    before, rest = rendered.split(_VISUAL)
    words, after = rest.split(_CLUES)
    return before, words, after


def _refusal(found: str) -> ConfigError:
    return ConfigError(
        f"the chat template of the LLM's tokenizer must show the message of a user once, found: {found}; "
        "set finetune.chat_template=false"
    )
