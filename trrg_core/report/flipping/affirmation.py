"""Absent -> affirmed: the ways to affirm one denied fact in the style of its sentence, the most natural first."""

import re
from collections.abc import Iterator, Sequence

from trrg_core.report.flipping.grammar import (
    VERB,
    Fact,
    Source,
    as_sentence,
    capital,
    find_clause,
    is_plural,
    join_list,
    load_flip_rules,
    with_article,
)

_ITEM = re.compile(r",? (?:or|and|nor) (?:no |of )?|, (?:no |or |and )?|/")
_LIST_END = re.compile(
    r";|, (?:but|however|although|though)\b| (?:but|with|although|though|however|there|except|which)\b|\.(?= |$)"
)
_EVIDENCE = re.compile(
    r"^no (?P<kind>(?:definite |convincing |radiographic |clear |new |acute |other |current |significant )?"
    r"(?:evidence|signs?|findings|indication|suggestion|features?)|areas?|focus|development)"
    r" (?:of|for|to suggest|suggesting|to indicate|suggestive of)",
    re.I,
)
_THERE = re.compile(
    r"\bthere (?P<verb>is|are|was|were|has been|have been|remains?|appears? to be)"
    r"(?: (?:also|again|now|currently))?\s*$",
    re.I,
)
_NEITHER = re.compile(r"\bneither\b", re.I)
_OPPOSITES = {
    "heart": "enlarged",
    "mediastinum": "widened",
    "heart_and_mediastinum": "enlarged",
    "costophrenic_angle": "blunted",
    "hilum": "enlarged",
}
_SUBJECTS = {
    "cardiomegaly": ("heart size", "the heart is enlarged"),
    "enlarged_cardiomediastinum": ("mediastinal contours", "the mediastinum is widened"),
    "lymphadenopathy": ("hilar contours", "the hila are enlarged"),
    "blunted_angle": ("costophrenic angles", "the costophrenic angles are blunted"),
}
_MEASURES = re.compile(
    r"^(?:,? (?:(?:in|and|or) )?(?:overall |the )?"
    r"(?:size|sizes|contours?|configuration|appearance|caliber|shape|position|limits)\b)+",
    re.I,
)
_NOT_VERB = re.compile(
    r"\b(?P<aux>does|do|did|is|are|was|were|has|have|can|could)(?P<not> not|n't)\s+(?P<verb>\w+)", re.I
)


def affirm(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, a denied one, is affirmed, and nothing else is changed if all is well."""
    if "+" in fact.rule:
        candidates = _affirm_state(source, fact)
    elif fact.rule == "absent.after":
        candidates = _affirm_before_cue(source, fact)
    elif fact.rule in ("absent.no", "absent.without", "absent.free", "absent.resolved", "absent.not"):
        candidates = _affirm_in_list(source, fact)
    else:
        return
    for text in candidates:
        yield as_sentence(text, source.text)


def _affirm_state(source: Source, fact: Fact) -> Iterator[str]:
    """ "heart size is normal" -> "heart size is enlarged"; of a joint statement, one place is turned round."""
    text = source.text
    opposite = _OPPOSITES.get(fact.rule.split("+")[0])
    if opposite is None:
        return
    others = [one for one in source.facts if one is not fact and one.start < fact.end and fact.start < one.end]
    if others:
        yield from _affirm_joint_state(source, fact, others)
        return
    at = _find_cue(text, fact)
    if at < 0:
        return
    end = at + len(fact.cue)
    measures = _MEASURES.match(text[end:])
    end += measures.end() if measures else 0
    yield f"{text[:at]}{opposite}{text[end:]}"


def _affirm_joint_state(source: Source, fact: Fact, others: Sequence[Fact]) -> Iterator[str]:
    text = source.text
    if fact.finding not in _SUBJECTS or not all(one.finding in _SUBJECTS for one in others):
        return
    low, high = find_clause(text, fact.start)
    subjects = list(dict.fromkeys(_SUBJECTS[one.finding][0] for one in others))
    verb = "is" if subjects == ["heart size"] else "are"
    state = "normal" if fact.cue.startswith(("not ", "no ", "non")) or "size" in fact.cue else fact.cue
    turned = _SUBJECTS[fact.finding][1]
    yield f"{text[:low]}{turned}, but the {join_list(subjects, 'and')} {verb} {state}{text[high:]}"


def _find_cue(text: str, fact: Fact) -> int:
    lowered = text.lower().replace("-", " ")
    at = lowered.find(fact.cue, fact.start, fact.end) if fact.cue else -1
    return at


def _affirm_before_cue(source: Source, fact: Fact) -> Iterator[str]:
    """ "the effusion has resolved" -> "the effusion persists"; "no" behind the finding."""
    text = source.text
    at = text.lower().replace("-", " ").find(fact.cue, fact.end)
    if at < 0:
        return
    cue, rest = fact.cue, text[at + len(fact.cue) :]
    verb = "are" if is_plural(text[fact.start : fact.end]) else "is"
    seen = re.search(
        r"\b(seen|visuali[sz]ed|identified|present|evident|appreciated|demonstrated|detected|noted|observed)$", cue
    )
    if seen:
        again = "still " if "longer" in cue else ""
        yield f"{text[:at]}{verb} {again}{seen[1]}{rest}"
    if "resol" in cue or "clear" in cue or "disappear" in cue:
        yield f"{text[:at]}{'persist' if verb == 'are' else 'persists'}{rest}"
    yield f"{text[:at]}{verb} present{rest}"


def _affirm_in_list(source: Source, fact: Fact) -> Iterator[str]:
    """ "no effusion or pneumothorax" -> "effusion but no pneumothorax"."""
    text = source.text
    at = text.lower().replace("-", " ").rfind(fact.cue, 0, fact.start)
    if at < 0 or not fact.cue:
        return
    begin = at + len(fact.cue)
    neither = _NEITHER.search(text, 0, fact.start)
    if neither:
        at, begin = neither.span()
    cut = _LIST_END.search(text, fact.end)
    end = cut.start() if cut else len(text)
    items, tail, end = _split_items(text, begin, end, fact)
    turned = next((item for item in items if item[0] <= fact.start < item[1]), None)
    if turned is None:
        return
    item = load_flip_rules().hedges.sub("", text[turned[0] : turned[1]].strip())
    others = [text[low:high].strip() for low, high in items if (low, high) != turned]
    yield from _assemble(text[:at], fact, item, others, tail, text[end:])


def _split_items(text: str, begin: int, end: int, fact: Fact) -> tuple[list[tuple[int, int]], str, int]:
    """The items of the list at [begin, end), the words behind its last item ("is seen"), and where it ends."""
    spans: list[tuple[int, int]] = []
    start = begin
    for separator in _ITEM.finditer(text, begin, end):
        verb = VERB.search(text, start, separator.start())
        if verb and start <= fact.start < separator.start():
            spans.append((start, verb.start()))
            return spans, text[verb.start() : separator.start()], separator.start()
        if verb:
            break
        spans.append((start, separator.start()))
        start = separator.end()
    verb = VERB.search(text, start, end)
    if verb and spans and not text[spans[-1][1] : start].strip(", "):
        # "no pneumothorax, the lungs are clear": the last item is a clause of its own
        return spans, "", spans[-1][1]
    spans.append((start, verb.start() if verb else end))
    return spans, text[verb.start() : end] if verb else "", end


def _assemble(before: str, fact: Fact, item: str, others: Sequence[str], tail: str, after: str) -> Iterator[str]:
    but = f" but no {join_list(others)}" if others else ""
    plural = is_plural(item)
    tail = re.sub(r"^(?:is|are)\b", "are" if plural else "is", tail.strip(), flags=re.I)
    tail = f" {tail}" if tail else ""
    evidence = _EVIDENCE.match(fact.cue)
    if evidence:
        item = f"{evidence['kind'].removesuffix(' to suggest')} of {item}"
    there = _THERE.search(before)
    if there:
        verb = "are" if plural or (evidence and evidence["kind"].endswith("s")) else "is"
        stem = before[: there.start("verb")]
        yield f"{stem}{verb} {with_article(item)}{tail}{but}{after}"
    elif fact.rule == "absent.without":
        yield from _affirm_without(before, item, others, after)
    elif fact.rule == "absent.free":
        yield from _affirm_free(before, fact, item, others, after)
    elif fact.rule == "absent.resolved":
        yield f"{before}persistent {item}{but}{after}"
    elif fact.rule == "absent.not":
        yield from _affirm_not(before, fact, item, but + tail + after)
    elif not before.strip():
        yield f"{with_article(item) if tail else item}{tail}{but}{after}"
    else:
        joint = re.sub(r"\b(?:but|and|or|nor)\s*$", "and ", before)
        yield f"{joint}{'with ' if fact.cue.startswith('with ') else ''}{with_article(item)}{tail}{but}{after}"
        yield f"{before}there {'are' if plural else 'is'} {with_article(item)}{tail}{but}{after}"


def _affirm_without(before: str, item: str, others: Sequence[str], after: str) -> Iterator[str]:
    but = f" but without {join_list(others)}" if others else ""
    clear = re.search(r"\b(?:are|is|remain|remains|appear|appears)(?: \w+)? clear,? (?:and )?$", before, re.I)
    if clear:
        no = f" but no {join_list(others)}" if others else ""
        yield f"{before[: clear.start()]}show {with_article(item)}{no}{after}"
        return
    bare = re.sub(r"\b(is|are)\s*$", "", before, flags=re.I)
    if not before.strip():
        no = f" but no {join_list(others)}" if others else ""
        yield f"{item}{no}{after}"
    elif bare != before:
        no = f" but no {join_list(others)}" if others else ""
        yield f"{bare}show {with_article(item)}{no}{after}"
    yield f"{before}with {with_article(item)}{but}{after}"


def _affirm_free(before: str, fact: Fact, item: str, others: Sequence[str], after: str) -> Iterator[str]:
    but = f" but no {join_list(others)}" if others else ""
    if fact.cue.startswith("negative"):
        if not before.strip():
            yield f"positive for {item}{f', negative for {join_list(others)}' if others else ''}{after}"
        yield f"{before}positive for {item}{but}{after}"
    bare = re.sub(r"\b(?:is|are|remain|remains|appear|appears)\s*$", "", before, flags=re.I)
    bare = re.sub(r"\b(?:is|are|remain|remains|appear|appears) clear,? (?:and )?$", "", bare, flags=re.I)
    yield f"{bare}show {with_article(item)}{but}{after}"
    yield capital(f"{item}{but}{after}")


def _affirm_not(before: str, fact: Fact, item: str, rest: str) -> Iterator[str]:
    cue = re.sub(r"^not\s*", "", fact.cue)
    aux = re.search(r"\b(?P<aux>does|do|did|is|are|was|were|has|have)\s*$", before, re.I)
    if aux and aux["aux"].lower() in ("does", "do", "did"):
        verb = cue or "show"
        third = aux["aux"].lower() == "does"
        stem, _, others = verb.partition(" ")
        conjugated = ("has" if stem == "have" else f"{stem}s") if third else stem
        yield f"{before[: aux.start()]}{conjugated} {others} {item}{rest}"
    else:
        yield f"{before}{cue} {item}{rest}"
