"""Shorthand written out before the rules are matched: "effs (arrow up),no ptx" is read as "effs increased, no ptx".

Signs become words (`signs` of `rules/spelling.yaml`), and a comma gets the space that was left out behind it.
"""

import re
from collections.abc import Iterator
from functools import cache

from trrg_core.report.lexicon import load_rules

# not the number of a series or a list: "#2", "# 2 of 3"
_FRACTURE = r"(?<![^\s(,;/?])(?P<bone>#s?)(?=[,;.)]|\s*\Z|[a-z]| (?!\d)| ?\d{1,2}(?:st|nd|rd|th)?\b[^,;.]{0,12}\brib)"
_COMMA = r"(?P<comma>[,;])(?=[a-z?#(+])"
# "r/o # - no fracture"
_DASH = r" -(?P<dash> )(?=(?:no|nil)\b)"
# "mod R / sm L effs"
_SLASH = r" (?P<slash>/) (?=(?:sm|small|mod|moderate|large|lg|mild|tiny|trace|min|minimal)\b)"
_WITH = r"\bw/(?=[a-z]{2})"
# "ptx -, eff +" and "+ effusion, - ptx", where a plus shows that these are signs
_MINUS = r"(?<=[a-z])(?P<minus> ?-)(?=[,;.\n]|\s*\Z)|(?<=[,;] )(?P<lead>-) ?(?=[a-z])"
# the answer of a form, and what it offers to choose from: "Effusion: -", "Size [small/large]: small"
_NIL = r"(?<=[a-z)\]])(?P<nil> ?[:=] ?[-\u2013\u2014])(?=\s*[,;/|.]|\s*\Z)"
_CHOICES = r"(?P<choices> ?[(\[{][a-z ]+(?:[/|][a-z ]+)+[)\]}])(?=\s*[:=])"
_SHIFT = re.compile(r"\b(?:shift(?:ed)?|dev|deviat(?:ed|ion)|pulled|pushed|displaced|rotated) ?\Z")
_LONGEST_SHIFT = 16
# what rises and does not grow
_DIAPHRAGM = re.compile(r"diaph[a-z]* ?\Z")
_RAISED = re.compile(r"(?:[lr]t? |left |right )?(?:hemi[ -]?)?diaph")
# one word that a dash answers without any plus: "ETT in situ, PTX -"
_OF_NOTE = re.compile(r"(?:\A|[,;:.] )((?:pleural )?[a-z]+)\Z")
_DASHES = ("-", "\u2013", "\u2014")


def written_out(sentence: str) -> tuple[str, tuple[int, ...]] | None:
    """`sentence` in lower case and in words, and for each character where it was; None where it has no sign."""
    text = sentence.lower()
    if not _may_hold(text) or len(text) != len(sentence):
        return None
    pieces: list[str] = []
    offsets: list[int] = []
    reached = 0
    for start, end, words in _replacements(text):
        pieces += (text[reached:start], words)
        offsets.extend(range(reached, start))
        offsets.extend(start + min(number, end - start - 1) for number in range(len(words)))
        reached = end
    if not pieces:
        return None
    offsets.extend(range(reached, len(text)))
    return "".join((*pieces, text[reached:])), tuple(offsets)


def _may_hold(text: str) -> bool:
    return (
        not text.isascii()
        or text.count(",") != text.count(", ")
        or "#" in text
        or "+" in text
        or "@" in text
        or "->" in text
        or " - n" in text
        or " / " in text
        or "w/" in text
        or text.endswith(_DASHES)
        or ": -" in text
        or "):" in text
        or "]:" in text
        or "}:" in text
        or (";" in text and text.count(";") != text.count("; "))
    )


@cache
def _signs() -> tuple[dict[str, str], re.Pattern[str]]:
    signs: dict[str, str] = load_rules()["spelling.yaml"]["signs"]
    singles = "|".join(re.escape(sign) for sign in signs if not sign.startswith("#"))
    pattern = "|".join(
        (
            _COMMA,
            _FRACTURE,
            _WITH,
            _DASH,
            _SLASH,
            _NIL,
            _CHOICES,
            _MINUS,
            rf" ?(?P<sign>{singles})(?P=sign)*(?P<ending>ing|ed)? ?",
        )
    )
    return signs, re.compile(pattern)


def _replacements(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, words) of each sign of `text` and what is written for it."""
    signs, pattern = _signs()
    has_plus = "+" in text
    for match in pattern.finditer(text):
        start, end = match.span()
        kind = match.lastgroup
        if kind == "comma":
            yield start, end, f"{match[0]} "
        elif kind == "bone":
            yield start, end, f"{signs[match[0]]} "
        elif kind == "slash":
            yield start, end, " and "
        elif kind == "dash":
            yield start, end, "; "
        elif kind in ("nil", "choices"):
            yield start, end, ": (-)" if kind == "nil" else ""
        elif kind in ("minus", "lead"):
            if not has_plus and kind == "minus" and (note := _OF_NOTE.search(text, 0, start)):
                word = note.start(1)
                yield word, word + 1, f"no {text[word]}"
                yield start, end, ""
            if has_plus:
                yield start, end, " (-)" if kind == "minus" else "(-) "
        elif kind is None:
            yield start, end, "with "
        else:
            yield start, end, f" {_word_of(signs[match['sign']], match['ending'] or '', text, start, end)} "


def _word_of(word: str, ending: str, text: str, start: int, end: int) -> str:
    if word == "now" and _SHIFT.search(text, max(0, start - _LONGEST_SHIFT), start):
        return "to"
    if word == "increased" and (
        _DIAPHRAGM.search(text, max(0, start - _LONGEST_SHIFT), start) or _RAISED.match(text, end)
    ):
        return "elevated"
    if word in ("increased", "decreased"):
        if ending == "ing":
            return f"{word[:-2]}ing"
        if text.startswith("in ", end):
            return word[:-1]  # "interval increase in"
    return word


def ends_in_answer(sentence: str) -> bool:
    """Whether the dash that may be an answer is at the end of `sentence`: "Effusion: -"."""
    return sentence.endswith(_DASHES)
