"""BLEU-1..4, METEOR 1.5, ROUGE-L and CIDEr of generated reports, by pycocoevalcap, under a named protocol.

`full`: the COCO caption convention, PTB tokens in lower case without punctuation, nothing cut.
`r2gen`: R2Gen's text, cut and with rare words as <unk>, split at spaces, full stops counted as words.
The two differ by several points on the same reports, so every score name contains its protocol: `bleu4.full`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

from trrg_core.metrics.java import JavaError, package_file, run_java
from trrg_core.metrics.meteor import Meteor
from trrg_core.metrics.r2gen_text import MAX_TOKENS, Corpus, encode_r2gen
from trrg_core.metrics.systems import LANGUAGE_MEASURES, LanguageMeasure, Protocol, language_score

NO_METEOR = "not requested"
_BLEU: tuple[LanguageMeasure, ...] = ("bleu1", "bleu2", "bleu3", "bleu4")


@dataclass(frozen=True, kw_only=True)
class NlgScores:
    """Corpus scores by name (`bleu4.full`), and the reason for each score that could not be computed."""

    values: dict[str, float]
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """The same by measure (`bleu4`), of reports that are tokenised already."""

    values: dict[LanguageMeasure, float]
    absent: dict[LanguageMeasure, str] = field(default_factory=dict)


def score_nlg(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    protocol: Protocol,
    corpus: Corpus = "mimic-cxr",
    vocabulary: frozenset[str] | None = None,
    meteor: Meteor | str = NO_METEOR,
) -> NlgScores:
    """Language scores of untokenised `hypotheses` against one reference each, in order.

    Args:
        references: reports of the radiologists.
        hypotheses: generated reports.
        protocol: how text becomes tokens.
        corpus: whose cleaner and length `r2gen` uses.
        vocabulary: words known to `r2gen`; None keeps all. Other words become <unk> on both sides.
        meteor: the running METEOR, or the reason why there is none.

    Raises:
        ValueError: if there are no reports or the two lists differ in length.
    """
    try:
        reference_tokens, hypothesis_tokens = _tokenise(references, hypotheses, protocol, corpus, vocabulary)
    except JavaError as error:
        reason = f"the PTB tokenizer could not run: {error}"
        absent = {language_score(measure, protocol): reason for measure in LANGUAGE_MEASURES}
        return NlgScores(values={}, absent=absent)
    scores = score_tokens(reference_tokens, hypothesis_tokens, meteor=meteor)
    return NlgScores(
        values={language_score(measure, protocol): value for measure, value in scores.values.items()},
        absent={language_score(measure, protocol): reason for measure, reason in scores.absent.items()},
    )


def score_tokens(
    references: Sequence[str], hypotheses: Sequence[str], *, meteor: Meteor | str = NO_METEOR
) -> TokenScores:
    """Scores of reports that are tokenised already, tokens separated by one space.

    Raises:
        ValueError: if there are no reports or the two lists differ in length.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    gts = {index: [text] for index, text in enumerate(references)}
    res = {index: [text] for index, text in enumerate(hypotheses)}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    values: dict[LanguageMeasure, float] = dict(zip(_BLEU, map(float, bleu), strict=True))
    values["rouge_l"] = float(Rouge().compute_score(gts, res)[0])
    absent: dict[LanguageMeasure, str] = {}
    if len(references) > 1:
        values["cider"] = float(Cider().compute_score(gts, res)[0])
    else:
        absent["cider"] = "document frequencies of one report are all equal; needs two or more"
    _add_meteor(values, absent, references, hypotheses, meteor)
    ordered = {measure: values[measure] for measure in LANGUAGE_MEASURES if measure in values}
    return TokenScores(values=ordered, absent=absent)


def tokenise_ptb(texts: Sequence[str], *, timeout_s: float = 600.0) -> list[str]:
    """`texts` as COCO tokenises captions: Stanford PTB tokens, lower case, without its list of punctuation.

    Raises:
        JavaError: if Java is missing, fails or takes longer than `timeout_s`.
    """
    jar = package_file("pycocoevalcap.tokenizer", "stanford-corenlp-3.4.1.jar")
    arguments = ("-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
    stdin = "".join(" ".join(text.split()) + "\n" for text in texts)
    lines = run_java(arguments, stdin=stdin, timeout_s=timeout_s).split("\n")[:-1]
    if len(lines) != len(texts):
        raise JavaError(f"the PTB tokenizer printed {len(lines)} lines for {len(texts)} reports")
    return [" ".join(token for token in line.split() if token not in PUNCTUATIONS) for line in lines]


def _tokenise(
    references: Sequence[str],
    hypotheses: Sequence[str],
    protocol: Protocol,
    corpus: Corpus,
    vocabulary: frozenset[str] | None,
) -> tuple[list[str], list[str]]:
    if protocol == "full":
        tokens = tokenise_ptb([*references, *hypotheses])
        return tokens[: len(references)], tokens[len(references) :]
    limit = MAX_TOKENS[corpus]
    return (
        [encode_r2gen(text, corpus, vocabulary=vocabulary, max_words=limit - 1) for text in references],
        [encode_r2gen(text, corpus, vocabulary=vocabulary, max_words=limit) for text in hypotheses],
    )


def _add_meteor(
    values: dict[LanguageMeasure, float],
    absent: dict[LanguageMeasure, str],
    references: Sequence[str],
    hypotheses: Sequence[str],
    meteor: Meteor | str,
) -> None:
    if isinstance(meteor, str):
        absent["meteor"] = meteor
        return
    try:
        values["meteor"] = meteor.score(references, hypotheses)
    except JavaError as error:
        absent["meteor"] = str(error)
