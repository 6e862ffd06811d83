"""BLEU-1..4, METEOR 1.5, ROUGE-L and CIDEr of generated reports, equal to pycocoevalcap's, under a named protocol.

`raw`: the texts as they stand, split at spaces: for files that are tokenised already.
`full`: the COCO caption convention, PTB tokens in lower case without punctuation, nothing cut.
`r2gen`: R2Gen's text, cut and with rare words as <unk>, split at spaces, full stops counted as words.
They differ by several points on the same reports, so every score name contains its protocol: `bleu4.full`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

from trrg_core.metrics.java import JavaError, package_file, run_java
from trrg_core.metrics.language.corpus_scores import PairStatistics, corpus_scores, pair_statistics
from trrg_core.metrics.language.meteor_files import MeteorDictionaries
from trrg_core.metrics.meteor import meteor_dictionaries, meteor_statistics
from trrg_core.metrics.r2gen_text import MAX_TOKENS, Corpus, encode_r2gen
from trrg_core.metrics.systems import LANGUAGE_MEASURES, Protocol, language_score

Floats = npt.NDArray[np.float64]
Texts = Sequence[str]

NO_METEOR = "not requested"
_ONE_REPORT = "document frequencies of one report are all equal; needs two or more"


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """How text becomes tokens, and what is scored.

    Args:
        protocols: the protocols to score.
        corpus: whose cleaner and length `r2gen` uses.
        vocabulary: words known to `r2gen`; None keeps all. Other words become <unk> on both sides.
        meteor: whether METEOR is scored too; it starts Java.
    """

    protocols: tuple[Protocol, ...]
    corpus: Corpus = "mimic-cxr"
    vocabulary: frozenset[str] | None = None
    meteor: bool = False


@dataclass(frozen=True, kw_only=True)
class LanguageStatistics:
    """One system: the statistics of its pairs by protocol, and the reason for each score that they do not give."""

    statistics: Mapping[Protocol, PairStatistics]
    absent: Mapping[str, str]

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Scores by name (`bleu4.full`), once per row of weights of pairs `[B,N]` -> `[B]`."""
        return {
            language_score(measure, protocol): values
            for protocol, statistics in self.statistics.items()
            for measure, values in corpus_scores(statistics, weights).items()
        }


@dataclass(frozen=True, kw_only=True)
class NlgScores:
    """Corpus scores by name (`bleu4.full`), and the reason for each score that could not be computed."""

    values: dict[str, float]
    absent: dict[str, str] = field(default_factory=dict)


def measure_language(systems: Sequence[tuple[Texts, Texts]], options: LanguageOptions) -> list[LanguageStatistics]:
    """The statistics of systems, each given as references and hypotheses; Java runs once for all of them.

    Raises:
        ValueError: if a system has no reports, or its lists differ in length.
    """
    for references, hypotheses in systems:
        if not references or len(references) != len(hypotheses):
            raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    tokens: dict[Protocol, list[tuple[Texts, Texts]]] = {
        name: _tokenise(systems, name, options) for name in options.protocols if name != "full"
    }
    reasons: dict[Protocol, str] = {}
    with ExitStack() as stack:
        dictionaries, no_meteor = None, NO_METEOR
        if options.meteor:
            # the words of all tokens but the PTB tokenizer's, which are to be expected
            texts = [text for group in (systems, *tokens.values()) for pair in group for part in pair for text in part]
            try:
                dictionaries = stack.enter_context(meteor_dictionaries(texts))
            except JavaError as error:
                no_meteor = str(error)
        if "full" in options.protocols:
            try:
                tokens["full"] = _tokenise_once(systems)
            except JavaError as error:
                reasons["full"] = f"the PTB tokenizer could not run: {error}"
        aligner = stack.enter_context(ThreadPoolExecutor(1))
        aligning = aligner.submit(_align, tokens, dictionaries) if dictionaries else None
        # while Java aligns
        statistics = {
            (protocol, number): pair_statistics(*pair)
            for protocol, of_protocol in tokens.items()
            for number, pair in enumerate(of_protocol)
        }
        meteor, no_meteor = aligning.result() if aligning else ({}, no_meteor)
    return [
        LanguageStatistics(
            statistics={
                protocol: replace(statistics[protocol, number], meteor=meteor.get((protocol, number)))
                for protocol in tokens
            },
            absent=_absent(reasons, tokens, no_meteor, num_pairs=len(systems[number][0])),
        )
        for number in range(len(systems))
    ]


def score_nlg(
    references: Texts,
    hypotheses: Texts,
    *,
    protocol: Protocol,
    corpus: Corpus = "mimic-cxr",
    vocabulary: frozenset[str] | None = None,
    meteor: bool = False,
) -> NlgScores:
    """Language scores of untokenised `hypotheses` against one reference each, in order; see `LanguageOptions`.

    Raises:
        ValueError: if there are no reports or the two lists differ in length.
    """
    options = LanguageOptions(protocols=(protocol,), corpus=corpus, vocabulary=vocabulary, meteor=meteor)
    (measured,) = measure_language([(references, hypotheses)], options)
    scores = measured.scores(np.ones((1, len(references))))
    return NlgScores(values={name: float(value[0]) for name, value in scores.items()}, absent=dict(measured.absent))


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
    systems: Sequence[tuple[Texts, Texts]], protocol: Protocol, options: LanguageOptions
) -> list[tuple[Texts, Texts]]:
    if protocol == "raw":
        return list(systems)
    limit, settings = MAX_TOKENS[options.corpus], {"vocabulary": options.vocabulary}
    return [
        (
            [encode_r2gen(text, options.corpus, max_words=limit - 1, **settings) for text in references],
            [encode_r2gen(text, options.corpus, max_words=limit, **settings) for text in hypotheses],
        )
        for references, hypotheses in systems
    ]


def _tokenise_once(systems: Sequence[tuple[Texts, Texts]]) -> list[tuple[Texts, Texts]]:
    """PTB tokens of all systems; a text that occurs several times, as references do, is tokenised once."""
    distinct = list(dict.fromkeys(text for system in systems for texts in system for text in texts))
    tokens = dict(zip(distinct, tokenise_ptb(distinct), strict=True))
    return [
        ([tokens[text] for text in references], [tokens[text] for text in hypotheses])
        for references, hypotheses in systems
    ]


def _align(
    tokens: Mapping[Protocol, Sequence[tuple[Texts, Texts]]], dictionaries: MeteorDictionaries
) -> tuple[dict[tuple[Protocol, int], Floats], str]:
    """METEOR's statistics by protocol and number of the system, and the reason if there are none."""
    keys = [(protocol, number) for protocol, systems in tokens.items() for number in range(len(systems))]
    pairs = [list(zip(*tokens[protocol][number], strict=True)) for protocol, number in keys]
    try:
        rows = meteor_statistics([pair for of_key in pairs for pair in of_key], dictionaries)
    except JavaError as error:
        return {}, str(error)
    bounds = pairwise(accumulate(map(len, pairs), initial=0))
    return {key: rows[start:end] for key, (start, end) in zip(keys, bounds, strict=True)}, ""


def _absent(
    reasons: Mapping[Protocol, str], tokens: Mapping[Protocol, object], no_meteor: str, *, num_pairs: int
) -> dict[str, str]:
    absent = {
        language_score(measure, name): reason for name, reason in reasons.items() for measure in LANGUAGE_MEASURES
    }
    for protocol in tokens:
        if no_meteor:
            absent[language_score("meteor", protocol)] = no_meteor
        if num_pairs == 1:
            absent[language_score("cider", protocol)] = _ONE_REPORT
    return absent
