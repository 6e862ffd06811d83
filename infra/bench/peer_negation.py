"""Runs in the environment of a peer: negation of given phrases in given sentences by negspaCy or medspaCy.

`python peer_negation.py TOOL < work.json > result.json`; reads `{"phrases": {phrase: finding}, "reports": [[text,
[[start, end], ...]], ...], "concepts": [[sentence, concept], ...], "rounds": n}`. Imports nothing of this project.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

TOOLS = ("spacy-tokenizer", "negspacy", "medspacy", "medspacy-default")
Answer = tuple[str, str, bool, bool]  # finding, PRESENT | ABSENT | UNCERTAIN, historical, of somebody else


@Language.component("given_sentences")  # type: ignore[untyped-decorator]  # untyped in spaCy
def given_sentences(doc: Doc) -> Doc:
    """Sets the sentence boundaries given by the caller, so that all tools use the same."""
    starts = {start for start, _ in doc._.given}
    for token in doc:
        token.is_sent_start = token.idx in starts or token.i == 0
    return doc


def build(tool: str, phrases: dict[str, str]) -> Language:
    """A blank pipeline with the default negation rules of the tool and `phrases` as targets."""
    if tool == "medspacy-default":
        import medspacy

        nlp = medspacy.load()
    else:
        nlp = spacy.blank("en")
        nlp.add_pipe("given_sentences")
    if tool == "spacy-tokenizer":
        return spacy.blank("en")
    if tool == "negspacy":
        from negspacy.negation import Negex  # noqa: F401  registers the component

        nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"}).add_patterns(
            [{"label": "FINDING", "pattern": phrase, "id": finding} for phrase, finding in phrases.items()]
        )
        nlp.add_pipe("negex", config={"ent_types": ["FINDING"]})
        return nlp
    from medspacy.ner import TargetRule

    if tool == "medspacy":
        nlp.add_pipe("medspacy_target_matcher")
        nlp.add_pipe("medspacy_context")
    matcher = nlp.get_pipe("medspacy_target_matcher")
    matcher.add([TargetRule(phrase, finding) for phrase, finding in phrases.items()])
    return nlp


def read_entity(tool: str, entity: Span) -> Answer:
    """What `tool` states of one entity."""
    if tool == "negspacy":
        return entity.ent_id_, "ABSENT" if entity._.negex else "PRESENT", False, False
    assertion = "ABSENT" if entity._.is_negated else "UNCERTAIN" if entity._.is_uncertain else "PRESENT"
    return entity.label_, assertion, bool(entity._.is_historical), bool(entity._.is_family)


def run_reports(tool: str, nlp: Language, reports: list[Any]) -> list[list[Answer]]:
    """Entities per report."""
    results = []
    for text, spans in reports:
        doc = nlp.make_doc(text)
        doc._.given = spans
        for _, pipe in nlp.pipeline:
            doc = pipe(doc)
        results.append([read_entity(tool, entity) for entity in doc.ents])
    return results


def run_concepts(tool: str, concepts: list[list[str]]) -> list[tuple[str, bool, bool]]:
    """One answer per row: each sentence is processed with its own concept as the only target."""
    answers: list[tuple[str, bool, bool]] = []
    nlp = build(tool, {})
    for sentence, concept in concepts:
        doc = nlp.make_doc(sentence)
        doc._.given = [[0, len(sentence)]]
        for name, pipe in nlp.pipeline:
            if name in ("entity_ruler", "medspacy_target_matcher"):
                begin = sentence.lower().find(concept.lower())
                upper = sentence.find(concept.upper())
                begin = upper if upper >= 0 else begin
                label = "FINDING"
                span = (
                    doc.char_span(begin, begin + len(concept), label=label, alignment_mode="expand")
                    if begin >= 0
                    else None
                )
                doc.ents = [span] if span else []
            else:
                doc = pipe(doc)
        answers.append(read_entity(tool, doc.ents[0])[1:] if doc.ents else ("PRESENT", False, False))
    return answers


def main() -> None:
    """Reads the input, runs the tool, prints the entities and the CPU seconds of the fastest round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    tool = parser.parse_args().tool
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    Doc.set_extension("given", default=(), force=True)
    work = json.load(sys.stdin)
    result: dict[str, Any] = {}
    if work.get("concepts"):
        result["concepts"] = run_concepts(tool, work["concepts"])
    if work.get("reports"):
        nlp = build(tool, work["phrases"])
        run_reports(tool, nlp, work["reports"][:20])
        seconds = []
        for _ in range(work["rounds"]):
            began = time.process_time()
            result["reports"] = run_reports(tool, nlp, work["reports"])
            seconds.append(time.process_time() - began)
        result["seconds"] = min(seconds)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
