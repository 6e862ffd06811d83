"""The report parser: a report's text in; its sections, sentences, mentions and labels out.

Every later step that uses text reads it through this parser. It works by rules only, without a model: each label can be
traced to the cue that decided it, and the same text always gets the same labels under one `parser_id`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from trrg_core.labels import Assertion, Labels, LabelSet, label_report, load_label_set
from trrg_core.report.abbreviations import find_defined, find_definitions, name_definitions
from trrg_core.report.continued import SO_HAS, as_before, continued, of_continued
from trrg_core.report.current_fact import is_current_fact
from trrg_core.report.form_fields import find_field, of_field
from trrg_core.report.lexicon import RULES_VERSION, load_lexicon, rules_fingerprint
from trrg_core.report.lists import is_marked
from trrg_core.report.mentions import find_mentions
from trrg_core.report.neighbours import (
    LONGEST_SIDE,
    NAMED_DEVICES,
    PRONOUNS_IN_FRONT,
    bare_side,
    complete,
    deny_now,
    end_of_clause,
    end_of_denial,
    find_stand_in,
    is_told_past,
    names_device,
    of_both,
    of_devices_before,
    of_title,
    on_side,
    on_side_of_before,
    replaces,
    title_of_list,
    under_label,
    with_values,
)
from trrg_core.report.parallel import parse_in_processes
from trrg_core.report.parsed import Mention, ParsedReport, Sentence, build_value
from trrg_core.report.questions import answer_all, find_answer, is_question
from trrg_core.report.sections import find_sections, sections_read
from trrg_core.report.sentences import find_sentences
from trrg_core.report.unfolding.unfold import in_report, unfold
from trrg_core.report.wraps import in_one_line, of_wrapped

# half the sentences of a corpus are among its most common few thousand
_CACHED_SENTENCES = 16_384
# states nothing of the images, but what a test is advised for
_OF_ADVICE = "recommendations"


class ReportParser:
    """Parses reports under one label set. Holds the compiled rules; one per process is enough.

    Args:
        label_set: observations to label: `chexpert14`, `nih14`, the path of a YAML file, or a loaded label set.
        spacy_model: folder of a trained scispaCy model that widens recall; empty for none.
        spacy_model_sha256: the SHA-256 that folder must have.

    Raises:
        ConfigError: for an unknown label set, or a model that does not have the given SHA-256.
    """

    def __init__(
        self, label_set: str | LabelSet = "chexpert14", spacy_model: str = "", spacy_model_sha256: str = ""
    ) -> None:
        self._arguments = (label_set, spacy_model, spacy_model_sha256)
        self.label_set = load_label_set(label_set) if isinstance(label_set, str) else label_set
        self._lexicon = load_lexicon()
        self._observations = {name: self.label_set.observations_of(name) for name in self._lexicon.kinds}
        self._abnormal = frozenset(self.label_set.abnormal)
        self.parser_id = f"trrg-rules-{RULES_VERSION}-{rules_fingerprint()}-{self.label_set.name}"
        self._entities = None
        if spacy_model:
            from trrg_core.report.entities import EntityFinder  # spaCy takes seconds to import

            self._entities = EntityFinder(spacy_model, spacy_model_sha256, self._lexicon)
            self.parser_id += f"-{self._entities.sha256[:12]}"
        self._mentions = lru_cache(maxsize=_CACHED_SENTENCES)(self._of_new_sentence)

    def __reduce__(self) -> tuple[type["ReportParser"], tuple[str | LabelSet, str, str]]:
        return type(self), self._arguments

    @property
    def findings(self) -> tuple[str, ...]:
        """Ids of all findings and devices of the lexicon, without decoys."""
        return tuple(name for name, kind in self._lexicon.kinds.items() if kind != "decoy")

    def parse(self, text: str) -> ParsedReport:
        """The parse of one report. Any text is accepted; an empty one gives no sections and null labels."""
        form = unfold(text)
        if form is None:
            return self._parse(text)
        report = self._parse(form.text)
        return in_report(report, text, form)

    def _parse(self, text: str) -> ParsedReport:
        """The parse of a report without forms."""
        sections = find_sections(text)
        read = {section.start for section in sections_read(sections)}
        named = name_definitions(find_definitions(text), self._lexicon) if "(" in text else {}
        sentences: list[Sentence] = []
        devices: dict[str, Mention] = {}
        for section in sections:
            spans = find_sentences(text, section.start, section.end)
            if section.start in read:
                sentences.extend(self._read(text, spans, section.name, named, devices))
            elif section.name == _OF_ADVICE:
                sentences.extend(map(_advised, self._read(text, spans, section.name, named, devices)))
            else:
                sentences.extend([_sentence(text[start:end], start, end, section.name, ()) for start, end in spans])
        values = {
            "sections": sections,
            "sentences": tuple(sentences),
            "labels": self._labels(sentences) if read else dict.fromkeys(self.label_set.observations),
            "parser_id": self.parser_id,
            "unread": bool(sections) and not read,
        }
        return build_value(ParsedReport, values)

    def parse_many(self, texts: Iterable[str], *, workers: int = 1) -> Iterator[ParsedReport]:
        """`parse` of each text, lazily and in order.

        Args:
            texts: reports.
            workers: processes to parse in. Each new one needs two seconds to start, so more than one pays from
                some ten thousand reports on. A script must guard its start with `if __name__ == "__main__"`.

        Raises:
            ValueError: if `workers` is below 1.
        """
        if workers < 1:
            raise ValueError(f"workers is {workers}, expected 1 or more")
        return map(self.parse, texts) if workers == 1 else parse_in_processes(self, texts, workers)

    def mentions_of(self, sentence: str) -> tuple[Mention, ...]:
        """The mentions of one sentence by itself, with offsets into it; not kept in the cache of common sentences."""
        return self._find_mentions(sentence, ())

    def _read(
        self,
        text: str,
        spans: Sequence[tuple[int, int]],
        section: str,
        named: Mapping[str, str],
        devices: dict[str, Mention],
    ) -> list[Sentence]:
        """The sentences of a section that is read, with their mentions; `devices` are those of the report so far."""
        read: list[Sentence] = []
        before: tuple[Mention, ...] = ()
        side = title = ""
        for start, end in spans:
            sentence = text[start:end]
            mentions = self._mentions(sentence, find_defined(sentence, named) if named else ())
            title = title if title and is_marked(text, start) else ""
            if title and not mentions:
                mentions = of_title(title, sentence, self._mentions(f"{title}: {sentence}", ()))
            if before:
                if not mentions:
                    mentions = self._of_stand_in(sentence, before, stated := read[-1].text)
                    if mentions and replaces(mentions, before, stated):
                        read[-1] = _sentence(stated, read[-1].start, read[-1].end, section, ())
                elif sentence.startswith(PRONOUNS_IN_FRONT) and (clause := end_of_denial(sentence)):
                    denied = self._of_stand_in(sentence[:clause], before, stated := read[-1].text)
                    if denied and replaces(denied, before, stated):
                        read[-1] = _sentence(stated, read[-1].start, read[-1].end, section, ())
                    mentions = (*denied, *_shifted(self._mentions(sentence[clause:], ()), clause))
                elif sentence.startswith(PRONOUNS_IN_FRONT) and (clause := end_of_clause(sentence, mentions[0].start)):
                    of_pronoun = self._of_stand_in(sentence[:clause], before, stated := read[-1].text)
                    if of_pronoun and replaces(of_pronoun, before, stated):
                        read[-1] = _sentence(stated, read[-1].start, read[-1].end, section, ())
                    mentions = self._behind(sentence, clause, of_pronoun, mentions)
                elif sentence.startswith(SO_HAS):
                    mentions = as_before(mentions, before)
                elif " side" in sentence or " there" in sentence:
                    mentions = on_side_of_before(mentions, sentence, before)
                if ":" in sentence and (field := find_field(sentence)):
                    found = mentions or self._mentions(sentence, ((*field, before[-1].finding),))
                    mentions = of_field(found, before) or mentions
            if mentions and names_device(sentence):
                mentions = of_devices_before(mentions, sentence, before, devices)
            if ":" in sentence:
                side, mentions = under_label(mentions, sentence, side)
                title = title or (title_of_list(sentence) if mentions and "\n" in sentence else "")
            elif side and mentions:
                mentions = on_side(mentions, side)
            elif len(sentence) <= LONGEST_SIDE and not mentions:
                side = bare_side(sentence) or side
            before = mentions
            for one in mentions:
                if one.finding in NAMED_DEVICES:
                    devices[one.finding] = one
            read.append(_sentence(sentence, start, end, section, _shifted(mentions, start) if mentions else ()))
        return read

    def _behind(
        self, sentence: str, clause: int, of_pronoun: tuple[Mention, ...], mentions: tuple[Mention, ...]
    ) -> tuple[Mention, ...]:
        """What a pronoun in front of `clause` tells, and the `mentions` behind it, read apart if they stay the same."""
        if not of_pronoun:
            return mentions
        rest = _shifted(self._mentions(sentence[clause:], ()), clause)
        stay = [(one.finding, one.assertion) for one in rest] == [(one.finding, one.assertion) for one in mentions]
        return (*of_pronoun, *(rest if stay else mentions))

    def _of_stand_in(self, sentence: str, before: tuple[Mention, ...], stated: str) -> tuple[Mention, ...]:
        """The mention of a sentence such as "It is unchanged.", which speaks of the finding `before`, in `stated`."""
        if denied := deny_now(sentence, before, stated):
            return denied
        if is_question(stated):
            if answered := answer_all(sentence, before):
                return answered
            if span := find_answer(sentence):
                return self._mentions(sentence, ((*span, before[-1].finding),))
        if both := of_both(sentence, before):
            return tuple(
                with_values(mention, laterality=one.laterality)  # "both" is no side
                for one in both
                for mention in self._of_stand_in(sentence, (one,), stated)
            )
        stand_in = find_stand_in(sentence, before)
        found = self._mentions(sentence, (stand_in,)) if stand_in else ()
        was_past = is_told_past(stated)
        said = complete(found, sentence, before, was_past=was_past) if len(found) == 1 else ()
        return said or tuple(self._continued(sentence, before, stated, was_past=was_past))

    def _continued(
        self, sentence: str, before: tuple[Mention, ...], stated: str, *, was_past: bool
    ) -> Iterator[Mention]:
        for one in continued(sentence, before, stated):
            mention = of_continued(self._mentions(one.text, ()), one, was_past=was_past)
            if mention is None:
                return
            yield mention

    def _of_new_sentence(self, sentence: str, defined: tuple[tuple[int, int, str], ...]) -> tuple[Mention, ...]:
        """The mentions of a sentence that was not read before, unless with other line ends."""
        if "\n" in sentence and not (defined or self._entities) and (line := in_one_line(sentence)) is not None:
            return of_wrapped(self._mentions(line, ()), sentence)
        return self._find_mentions(sentence, defined)

    def _find_mentions(self, sentence: str, defined: tuple[tuple[int, int, str], ...]) -> tuple[Mention, ...]:
        entities = self._entities.find(sentence) if self._entities else ()
        return find_mentions(sentence, self._lexicon, entities, defined)

    def _labels(self, sentences: Iterable[Sentence]) -> Labels:
        assertions: dict[str, list[Assertion]] = {}
        others: list[Assertion] = []
        for sentence in sentences:
            for mention in sentence.mentions:
                if is_current_fact(vars(mention)):
                    finding, assertion = mention.finding, mention.assertion
                    for name in self._observations.get(finding, ()):
                        if name in assertions:
                            assertions[name].append(assertion)
                        else:
                            assertions[name] = [assertion]
                    if finding in self._abnormal:
                        others.append(assertion)
        return label_report(assertions, self.label_set, others)


def _sentence(text: str, start: int, end: int, section: str, mentions: tuple[Mention, ...]) -> Sentence:
    values = {"text": text, "start": start, "end": end, "section": section, "mentions": mentions}
    return build_value(Sentence, values)


def _advised(sentence: Sentence) -> Sentence:
    """A sentence of advice, which mentions only what is asked for."""
    asked = tuple(one for one in sentence.mentions if one.hypothetical)
    return build_value(Sentence, vars(sentence) | {"mentions": asked}) if sentence.mentions else sentence


def _shifted(mentions: tuple[Mention, ...], offset: int) -> tuple[Mention, ...]:
    """`mentions` of a sentence that starts at `offset` of the report."""
    shifted = []
    for mention in mentions:
        values = vars(mention).copy()
        values["start"] += offset
        values["end"] += offset
        shifted.append(build_value(Mention, values))
    return tuple(shifted)
