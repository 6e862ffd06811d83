"""Absent -> affirmed: the ways to affirm one denied fact in the style of its sentence, the most natural first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trrg_core.report.flipping.grammar import (
    THERE,
    VERB,
    Fact,
    Source,
    as_sentence,
    find_cue,
    is_plural,
    join_list,
    load_flip_rules,
    with_article,
)
from trrg_core.report.flipping.normal_states import affirm_state

_ITEM = re.compile(
    r",? (?:or|and|nor)(?:/or)? (?:no |of |any |for )?|, (?:no |or |and )?|/| to (?:suggest|indicate) (?:an? )?", re.I
)
_LIST_END = re.compile(
    r";|, (?:but|however|although|though)\b| (?:but|with|although|though|however|there|except|which|that)\b|\.(?= |$)",
    re.I,
)
_SEEN = re.compile(
    r"\s(?:(?:clearly|definitely|acutely) )?(?:seen|identified|noted|demonstrated|visuali[sz]ed|evident|appreciated|"
    r"detected|observed)\b",
    re.I,
)
_EVIDENCE = re.compile(
    r"^(?:with )?no (?P<kind>(?:definite |convincing |radiographic |clear |new |acute |other |current |significant )?"
    r"(?:evidence|signs?|findings|indication|suggestion|features?)|areas?|focus|development)"
    r" (?:of|for|to suggest|suggesting|to indicate|suggestive of)",
    re.I,
)
_CLEAR_LUNGS = re.compile(
    r"\b(?P<subject>lungs?(?: bilaterally)?) (?:(?:is|are|remains?|appears?)(?: (?!clear)\w+)? )?"
    r"clear(?: bilaterally)?,?(?: and)?\s*$",
    re.I,
)
_ARE_LAST = re.compile(r"\b(?:is|are|remains?|appears?)(?: (?:\w+ly|otherwise))?(?: clear,?)?(?: and)?\s*$", re.I)
_SHOWS_LAST = re.compile(
    r"\b(?:shows?|demonstrates?|reveals?|has|have|had|is|are|contains?|exhibits?|suggests?)\s*$", re.I
)
_OPENING = re.compile(r"(?:in addition|otherwise|however|additionally|again|overall),?\s*$", re.I)
_NORMAL_LAST = re.compile(r"\b(?:sharp|normal|unremarkable|preserved|limits|clear),?\s*$", re.I)
_JOINER_LAST = re.compile(r"[,;]?\s*\b(?:and|or|nor|with)\s*$|,\s*$", re.I)
_BUT_LAST = re.compile(r",?\s*\bbut\s*$", re.I)
_AND_LAST = re.compile(r"\s(?:but|and)(?: \w+ly)?\s*$", re.I)
_NEITHER = re.compile(r"\bneither\b", re.I)
_SEEN_LAST = re.compile(
    r"\b(?P<seen>seen|visuali[sz]ed|identified|present|evident|appreciated|demonstrated|detected|noted|observed|found|"
    r"visible|apparent|suspected)$"
)


def affirm(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, a denied one, is affirmed, and nothing else is changed if all is well."""
    if "+" in fact.rule:
        candidates = affirm_state(source, fact)
    elif fact.rule == "absent.after":
        candidates = _affirm_before_cue(source, fact)
    elif fact.rule in ("absent.no", "absent.without", "absent.free", "absent.resolved", "absent.not"):
        candidates = _affirm_in_list(source, fact)
    elif fact.rule == "absent.answer":
        candidates = _affirm_answer(source, fact)
    else:
        return
    for text in candidates:
        yield as_sentence(text, source.text)


def _affirm_before_cue(source: Source, fact: Fact) -> Iterator[str]:
    """ "the effusion has resolved" -> "the effusion persists"; "no pneumothorax is not seen" -> "is seen"."""
    text = source.text
    at = find_cue(text, fact.cue, fact.end, len(text))
    if at < 0:
        return
    cue, rest = fact.cue, text[at + len(fact.cue) :]
    is_many = is_plural(text[fact.start : fact.end])
    verb = "are" if is_many else "is"
    seen = _SEEN_LAST.search(cue)
    if seen and seen["seen"] != "suspected":
        verb = "" if cue.startswith(("not ", "no ")) else f"{verb} "
        yield f"{text[:at]}{verb}{'still ' if 'longer' in cue else ''}{seen['seen']}{rest}"
    elif "resol" in cue or "clear" in cue or "disappear" in cue:
        yield f"{text[:at]}{'persist' if is_many else 'persists'}{rest}"
    else:
        yield f"{text[:at]}{verb} present{rest}"


def _affirm_answer(source: Source, fact: Fact) -> Iterator[str]:
    """ "Effusion: none." -> "Effusion: present."."""
    at = find_cue(source.text, fact.cue, fact.end, len(source.text))
    if at >= 0:
        yield f"{source.text[:at]}present{source.text[at + len(fact.cue) :]}"


@dataclass(frozen=True)
class _Denial:
    """A list of denied items taken apart: `before` cue, `item` to affirm, `others`, `tail` ("is seen"), `after`."""

    before: str
    cue: str
    item: str
    others: tuple[str, ...]
    tail: str
    after: str
    follows_denial: bool

    def but(self, word: str = "no") -> str:
        """What stays denied, behind what is affirmed."""
        return f" but {word} {join_list(self.others)}" if self.others else ""


def _affirm_in_list(source: Source, fact: Fact) -> Iterator[str]:
    """ "no effusion or pneumothorax" -> "effusion but no pneumothorax"."""
    text = source.text
    at = find_cue(text, fact.cue, 0, fact.start, last=True)
    if at < 0:
        return
    begin = at + len(fact.cue)
    neither = _NEITHER.search(text, 0, fact.start)
    if neither:
        at, begin = neither.span()
    cut = _LIST_END.search(text, fact.end)
    items, tail, end = _split_items(text, begin, cut.start() if cut else len(text), fact)
    turned = next((item for item in items if item[0] <= fact.start < item[1]), None)
    if turned is None:
        return
    denial = _Denial(
        before=text[:at],
        cue="no" if neither else fact.cue,
        item=load_flip_rules().hedges.sub("", text[turned[0] : turned[1]].strip(" .,")),
        others=tuple(
            text[low:high].strip(" .,") for low, high in items if not _is_same(source, fact, (low, high), turned)
        ),
        tail=tail.strip(),
        after=text[end:],
        follows_denial=any(one.assertion == "ABSENT" and one.end <= at for one in source.facts),
    )
    yield from _assemble(denial, fact)


def _is_same(source: Source, fact: Fact, item: tuple[int, int], turned: tuple[int, int]) -> bool:
    within = [one.finding for one in source.facts if item[0] <= one.start < item[1]]
    return item == turned or (bool(within) and set(within) == {fact.finding})


def _split_items(text: str, begin: int, end: int, fact: Fact) -> tuple[list[tuple[int, int]], str, int]:
    """The items of the list at [begin, end), the words behind its last item ("is seen"), and where it ends."""
    spans: list[tuple[int, int]] = []
    start = begin
    for separator in _ITEM.finditer(text, begin, end):
        verb = VERB.search(text, start, separator.start())
        if verb and start <= fact.start < separator.start():
            return [*spans, (start, verb.start())], text[verb.start() : separator.start()], separator.start()
        if verb:
            break
        spans.append((start, separator.start()))
        start = separator.end()
    verb = VERB.search(text, start, end)
    if verb and spans and not text[spans[-1][1] : start].strip(", "):
        # "no pneumothorax, the lungs are clear": the last item is a clause of its own
        return spans, "", spans[-1][1]
    seen = None if verb else _SEEN.search(text, max(start, fact.end), end)
    tail = verb.start() if verb else seen.start() if seen else end
    return [*spans, (start, tail)], text[tail:end], end


def _assemble(denial: _Denial, fact: Fact) -> Iterator[str]:
    item, before, after = denial.item, denial.before, denial.after
    plural = is_plural(item)
    tail = re.sub(r"^(?:is|are)\b", "are" if plural else "is", denial.tail, flags=re.I)
    tail = f" {tail}" if tail else ""
    evidence = _EVIDENCE.match(denial.cue)
    if evidence:
        item = f"{evidence['kind']} of {item}"
        plural = evidence["kind"].endswith("s")
    verb = "are" if plural else "is"
    clear = _CLEAR_LUNGS.search(before)
    there = THERE.search(before)
    if clear and fact.rule != "absent.not":
        shows = "show" if clear["subject"].lower().startswith("lungs") else "shows"
        yield f"{before[: clear.start()]}{clear['subject']} {shows} {with_article(item)}{denial.but()}{after}"
    elif there:
        yield f"{before[: there.start()]}{there['there']} {verb} {with_article(item)}{tail}{denial.but()}{after}"
    elif fact.rule == "absent.without":
        yield from _affirm_without(denial, item, tail)
    elif fact.rule == "absent.free":
        yield from _affirm_free(denial, item)
    elif fact.rule == "absent.resolved":
        yield f"{before}persistent {item}{denial.but()}{after}"
    elif fact.rule == "absent.not":
        yield from _affirm_not(denial, item, tail)
    elif not before.strip():
        yield f"{with_article(item) if tail and VERB.search(tail) else item}{tail}{denial.but()}{after}"
    else:
        yield from _affirm_behind(denial, with_article(item), verb, tail)


def _affirm_behind(denial: _Denial, item: str, verb: str, tail: str) -> Iterator[str]:
    """The item affirmed behind other words: "the heart is enlarged, no effusion"."""
    before, rest = denial.before, f"{tail}{denial.but()}{denial.after}"
    stem = _JOINER_LAST.sub("", before.rstrip())
    has_verb = bool(VERB.search(tail))
    if _OPENING.match(before):
        yield f"{before}{'' if has_verb else f'there {verb} '}{item}{rest}"
    elif _SHOWS_LAST.search(before):
        yield f"{before}{item}{rest}"
    elif denial.cue.startswith("with "):
        yield f"{before}with {item}{rest}"
    elif _BUT_LAST.search(before):
        yield f"{_BUT_LAST.sub(' and ', before)}{item}{rest}"
    elif stem != before.rstrip():
        yield f"{stem}, but {'' if has_verb else f'there {verb} '}{item}{rest}"
        yield f"{stem} and {item}{rest}"
    else:
        yield f"{before}{item}{rest}"
        yield f"{before}there {verb} {item}{rest}"


def _affirm_without(denial: _Denial, item: str, tail: str) -> Iterator[str]:
    before, after = denial.before, denial.after
    if not before.strip():
        yield f"{item}{tail}{denial.but()}{after}"
    bare = _ARE_LAST.sub("", before)
    if bare != before:
        yield f"{bare}{'show' if is_plural(bare) else 'shows'} {with_article(item)}{denial.but()}{after}"
    if _NORMAL_LAST.search(before):
        verb = "are" if is_plural(item) else "is"
        yield f"{before.rstrip(' ,')}, but there {verb} {with_article(item)}{tail}{after}"
    yield f"{before}with {with_article(item)}{tail}{denial.but('without')}{after}"


def _affirm_free(denial: _Denial, item: str) -> Iterator[str]:
    before, after = denial.before, denial.after
    if denial.cue.startswith("negative"):
        if not before.strip():
            yield f"positive for {item}{f', negative for {join_list(denial.others)}' if denial.others else ''}{after}"
        yield f"{before}positive for {item}{denial.but()}{after}"
        return
    bare = _AND_LAST.sub(" and", _ARE_LAST.sub("", before))
    if bare.strip():
        shows = "shows" if re.search(r"\blung\b", before, re.I) else "show"
        yield f"{bare} {shows} {with_article(item)}{denial.but()}{after}"
    yield f"{item}{denial.but()}{after}"


def _affirm_not(denial: _Denial, item: str, tail: str) -> Iterator[str]:
    words = re.sub(r"^not\s*", "", denial.cue)
    rest = f"{tail}{denial.but()}{denial.after}"
    aux = re.search(r"\b(?P<aux>does|do|did)\s*$", denial.before, re.I)
    if aux:
        stem, _, others = (words or "show").partition(" ")
        conjugated = ("has" if stem == "have" else f"{stem}s") if aux["aux"].lower() == "does" else stem
        yield f"{denial.before[: aux.start()]}{conjugated} {others} {item}{rest}"
    else:
        yield f"{denial.before}{words} {item}{rest}"
