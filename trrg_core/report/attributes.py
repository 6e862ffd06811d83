"""Attributes of a mention: side, severity, anatomy, size and change, from the words around it.

A word before a mention belongs to it back to the last separator ("small left effusion"); a word behind a mention
belongs to it up to the next separator or mention ("opacity in the left lower lobe"), and further where nothing but
such words follows ("effusion, left, small"). Two sides with a degree each make two facts of one mention ("moderate
left and small right effusions").
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from trrg_core.report.attribute_marks import WEAK_CHANGE, choose, find_marks, said_of_state
from trrg_core.report.attribute_words import (
    BUT,
    CLAUSE_END,
    DATE,
    FILLERS,
    FRONTED,
    GOES_ON,
    PARTS,
    RELATIVE,
    SIDE_WORDS,
)
from trrg_core.report.candidates import Candidate
from trrg_core.report.clauses import clause_starts
from trrg_core.report.joint_attributes import denies_change, of_two_sides, share_clauses
from trrg_core.report.mark import Mark
from trrg_core.report.scan import Hit, Plain
from trrg_core.report.telling_words import CONCESSION

_SEPARATORS = frozenset(["comma", "and", "new_item", "with", "stop"])
# "opacity at the left base (pneumonia or atelectasis)": what explains has no side of its own
_BEGINS_EXPLANATION = ("(", " rather than ", " s/o ", " c/w ", " not accompanied by ", " not associated with ")
# "no pneumothorax (the line on the left is a skin fold)"
_STATES_ASIDE = re.compile(
    r"\((?:the|this|that|these|what|summation) [^()]*"
    r"\b(?:is|are|was|were|shows?|contains?|accounts?|represents?|reflects?)\b"
)
# "cavity LUL ?TB"
_QUERY = " ?"
_DENIED = ", no "
_LISTING = ("comma", "and", "new_item")
_WORD = re.compile(r"[^\s,;:().]+")
# a verb takes no side from in front of it: "pneumothorax on the left | displacing the mediastinum"
_DISPLACES = re.compile(r"(?:push|pull|shift|displac|deviat|draw)(?:es|s|ing) ")
_start = attrgetter("start")
_Described = dict[str, str]


def describe(
    candidates: Sequence[Candidate], hits: Sequence[Hit], boundaries: set[int], attributes: Sequence[Hit], plain: Plain
) -> list[list[_Described]]:
    """For each candidate its attributes by kind, once for each side that has its own.

    Kinds without a word are left out.
    """
    marks = find_marks(attributes, candidates, plain)
    if not marks and not denies_change(plain):
        return [[{}] for _ in candidates]
    sentence = _Sentence(candidates, hits, boundaries, marks, plain)
    described = [sentence.describe(number) for number in range(len(candidates))]
    if len(candidates) > 1:
        if any("change" in one for parts in described for one in parts):
            _share_change(described, sentence)
        _share_place(described, sentence)
    share_clauses(described, candidates, plain)
    return described


class _Sentence:
    """The marks of a sentence and the stretches of text in which they belong to a candidate."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        hits: Sequence[Hit],
        boundaries: set[int],
        marks: list[Mark],
        plain: Plain,
    ) -> None:
        self.candidates, self.hits, self.marks, self.text = candidates, hits, marks, plain.text
        self._starts = [mark.start for mark in marks]
        self._separators = [hit for hit in hits if hit.entry.role in _SEPARATORS]
        self._cuts = [hit.start for hit in self._separators]
        self._has_with = "with" in [hit.entry.role for hit in self._separators]
        self.boundaries = boundaries
        self._has_but = bool(plain.words & CONCESSION)
        self._has_query = _QUERY in plain.text
        self._has_denied = _DENIED in plain.text
        self._clauses = clause_starts(hits, boundaries) if boundaries else []

    def describe(self, number: int) -> list[_Described]:
        """The attributes of candidate `number`, once for each side that has its own degree."""
        if not self.marks:
            return [{}]
        candidate = self.candidates[number]
        low, high = self._window(number)
        window: Sequence[Mark] = self.between(low, high)
        if candidate.state[1] or self.text.startswith("increased", candidate.start):
            window = [kept for mark in window for kept in said_of_state(mark, candidate, self.text)]
        chosen = choose(candidate, self._without_change_of_others(window, candidate) if self._has_with else window)
        if self._starts[-1] < candidate.end:  # nothing is said behind it
            return self._sides_before(number, low, chosen) or [chosen]
        if high < len(self.text) and self._has_relative and (relative := RELATIVE.match(self.text, high)):
            cut = bisect_left(self._cuts, relative.end())
            behind = self.between(relative.end(), self._cuts[cut] if cut < len(self._cuts) else len(self.text))
            if behind and behind[0].value("change"):
                chosen.setdefault("change", behind[0].value("change"))
            limit = self._cuts[cut] if cut < len(self._cuts) else len(self.text)
            if not any(other.start < limit for other in self.candidates[number + 1 : number + 2]):
                chosen = {kind: value for kind, value in choose(None, behind).items() if kind != "change"} | chosen
                chosen = choose(None, self._behind_relative(number, cut)) | chosen
        known = chosen.get("change", "")
        if self._has_but and (conceded := self._behind_but(high)) is not None:
            if "severity" not in chosen and (degree := conceded.value("severity")):
                chosen["severity"] = degree
            if known in ("", WEAK_CHANGE) and (change := conceded.value("change")):
                # "persists but is less dense"
                chosen["change"] = change if not known or change in ("worse", "improved") else known
        parts = [chosen]
        if self._cuts:
            parts = self._sides_before(number, low, chosen) or self._sides_after(number, high, chosen) or parts
        if high < len(self.text) and len(parts) == 1 and "laterality" not in parts[0] and len(self.candidates) == 1:
            far = choose(None, self._far_behind(number))
            return [far | parts[0]] if "laterality" in far else parts
        return parts

    def _behind_relative(self, number: int, cut: int) -> Sequence[Mark]:
        """The marks behind the comma that ends a relative clause: "the cavity, which is small, lies on the left"."""
        if cut >= len(self._cuts) or not GOES_ON.match(self.text, self._cuts[cut]):
            return ()
        end = self._cuts[cut + 1] if cut + 1 < len(self._cuts) else len(self.text)
        others = [other.start for other in self.candidates[number + 1 : number + 2]]
        return self.between(self._cuts[cut], min([end, *others]))

    @property
    def _has_relative(self) -> bool:
        text = self.text
        return "which" in text or "where" in text or "being" in text or "having" in text or text.count(",") > 1

    def _behind_but(self, high: int) -> Mark | None:
        """The change or degree in "the heart is enlarged but stable", which ends it; None where there is none."""
        match = BUT.match(self.text, high) if high < len(self.text) else None
        behind = self.between(match.end(), match.end() + 1) if match else []
        return behind[0] if behind and CLAUSE_END.match(self.text, behind[0].end) else None

    def between(self, low: int, high: int) -> list[Mark]:
        return self.marks[bisect_left(self._starts, low) : bisect_left(self._starts, high)]

    def _window(self, number: int) -> tuple[int, int]:
        """The stretch of text whose words can belong to a candidate."""
        candidate = self.candidates[number]
        low, high = 0, len(self.text)
        for other in self.candidates[max(0, number - 3) : number]:
            if low < other.end <= candidate.start:
                low = other.end
        if low:
            low = max(low, *(self.text.rfind(word, low, candidate.start) for word in _BEGINS_EXPLANATION))
            if self._has_query:
                query = self.text.rfind(_QUERY, low, candidate.start + 1)
                low = query if query >= 0 and self.text[query + len(_QUERY)] != " " else low
            cut = bisect_left(self._cuts, candidate.start)
            low = self._fronted(max(low, self._cuts[cut - 1]), max(low, self._cuts[cut - 2])) if cut else low
        elif self._clauses:
            at = bisect_left(self._clauses, candidate.start + 1)
            low = self._clauses[at - 1] if at else 0
        if self._has_denied and not low:
            denied = self.text.rfind(_DENIED, 0, candidate.start)
            # "AC joint separation L, no ptx", not "on the left, no ptx"
            if denied > self._starts[0] and not self._says_only_marks(0, denied):
                low = denied
        cut = bisect_left(self._cuts, candidate.end)
        if cut < len(self._cuts):
            high = self._cuts[cut]
        if "(" in self.text and (aside := _STATES_ASIDE.search(self.text, candidate.end, high)):
            high = aside.start()
        for other in self.candidates[number + 1 : number + 4]:
            if other.start >= candidate.end:
                if (choice := self.text.find(" or a ", candidate.end, other.start)) >= 0:
                    return low, min(high, choice)  # "scarring or | a trace of fluid"
                if high >= other.start and not _DISPLACES.match(self.text, other.start):
                    high = self._before_modifiers(other.start, candidate.end)
                return low, min(high, other.start)
        return low, high

    def _fronted(self, low: int, earlier: int) -> int:
        """`low`, or before it the start of a place that stands alone there: "; on the left, | a small one"."""
        return earlier if FRONTED.fullmatch(self.text, earlier, low) else low

    def _without_change_of_others(self, marks: Sequence[Mark], candidate: Candidate) -> Sequence[Mark]:
        """`marks` without the changes of what stands before a "with": "chronic changes with scarring"."""
        cut = bisect_left(self._cuts, candidate.start)
        cuts = self._separators[max(0, cut - 3) : cut]
        joint = next((hit.start for hit in reversed(cuts) if hit.entry.role == "with"), 0)
        return [mark for mark in marks if mark.start >= joint or not mark.value("change")]

    def _before_modifiers(self, start: int, floor: int) -> int:
        """Where the attributes right before `start` begin: "shifted to the left by a | right effusion"."""
        while True:
            at = bisect_left(self._starts, start) - 1
            if at < 0 or self.marks[at].start < floor or self.text[self.marks[at].end : start].strip() not in PARTS:
                return start
            start = self.marks[at].start

    def _far_behind(self, number: int) -> list[Mark]:
        """The marks behind candidate `number`, the only one of the sentence, up to a state or another clause."""
        candidate = self.candidates[number]
        ends = (hit.start for hit in self.hits[candidate.last + 1 :] if hit.entry.role in ("stop", "state", "with"))
        return self.between(candidate.end, next(ends, len(self.text)))

    def _sides_before(self, number: int, low: int, chosen: _Described) -> list[_Described]:
        """ "Moderate left and small right effusions": the parts of two sides that are listed before a candidate."""
        if chosen.get("laterality") not in ("left", "right") or not self._cuts:
            return []
        candidate = self.candidates[number]
        cut = bisect_left(self._cuts, candidate.start) - 1
        if cut < 0 or self.text[candidate.start : candidate.end] in SIDE_WORDS:  # a side stands for the finding before
            return []
        separator = self._separators[cut]
        start, end, entry = separator.start, separator.end, separator.entry
        floor = max((other.end for other in self.candidates[max(0, number - 3) : number]), default=0)
        if number and floor > (self._cuts[cut - 1] if cut else 0) and self._says_only_marks(floor, start):
            return []  # "pneumonia RLL improving, small left effusion"
        floor = max(floor, self._cuts[cut - 1] if cut else 0)
        if not any(mark.value("laterality") for mark in self.between(end, candidate.end)):
            return []  # "no effusion on the right, moderate effusion on the left"
        if entry.role not in _LISTING or start <= floor or not self._says_only_marks(end, candidate.start):
            return []
        between = self.hits[bisect_left(self.hits, floor, key=_start) : bisect_left(self.hits, start, key=_start)]
        if any((hit.entry.is_target and not hit.entry.attributes) or hit.entry.role == "verb" for hit in between):
            return []
        first = choose(None, self.between(floor, start))
        if first.get("laterality") in ("", None, "bilateral", chosen["laterality"]) or not self._ends_with_side(
            floor, start
        ):
            return []
        return of_two_sides(first, chosen, shared=chosen)

    def _ends_with_side(self, low: int, end: int) -> bool:
        """Whether nothing but a place stands between the last side in [low, end) and `end`."""
        sides = [mark for mark in self.between(low, end) if mark.value("laterality")]
        return bool(sides) and self._says_only_marks(sides[-1].end, end)

    def _sides_after(self, number: int, high: int, chosen: _Described) -> list[_Described]:
        """ "Effusion, left", "effusions, moderate on the right and small on the left"."""
        candidate = self.candidates[number]
        cut = bisect_left(self._cuts, candidate.end)
        if cut == len(self._cuts) or self._starts[-1] < self._cuts[cut]:
            return []
        limit = self.candidates[number + 1].start if number + 1 < len(self.candidates) else len(self.text)
        groups = [self.between(candidate.end, high)]
        for at in range(cut, min(cut + 4, len(self._separators))):
            separator = self._separators[at]
            start, end, entry = separator.start, separator.end, separator.entry
            is_only = entry.role == "stop" and self.text.startswith(("only ", "just "), start)
            end = start if is_only else end  # "and | only trace on the left"
            following = self._cuts[at + 1] if at + 1 < len(self._cuts) else len(self.text)
            is_joint = is_only or entry.role in _LISTING or self.text[start:end] == "which"
            if not is_joint or start >= limit or following > limit or not self._says_only_marks(end, following):
                break
            if self.text.startswith(",", end) and number + 1 < len(self.candidates):
                break  # "opacity on the left and, on the right, a granuloma"
            groups.append(self.between(end, following))
        if len(groups) == 1:
            return []
        parts = [choose(None, group) for group in groups]
        if "severity" in chosen and "laterality" in parts[0]:
            parts[0] = {"severity": chosen["severity"]} | parts[0]
        sided = [part for part in parts if part.get("laterality") in ("left", "right")]
        if len({part["laterality"] for part in sided}) == 2:
            if "laterality" in chosen and parts[0].get("laterality") != chosen["laterality"]:
                chosen = {kind: value for kind, value in chosen.items() if kind != "laterality"}
            return of_two_sides(sided[0], sided[-1], shared=chosen)
        more = {kind: value for part in reversed(parts) for kind, value in part.items()}
        improved = more | chosen
        if chosen.get("change") == WEAK_CHANGE and more.get("change"):
            improved["change"] = next(part["change"] for part in reversed(parts) if "change" in part)
        return [improved]

    def _says_only_marks(self, low: int, high: int) -> bool:
        """Whether [low, high) holds nothing but attributes and words such as "on the"."""
        spans = [(mark.start, mark.end) for mark in self.between(low, high)]
        return all(
            word[0] in FILLERS or DATE.match(word[0]) or any(start <= word.start() < end for start, end in spans)
            for word in _WORD.finditer(self.text, low, high)
        )


def _share_change(described: list[list[_Described]], sentence: _Sentence) -> None:
    """Gives the change that is said of a whole list to all its members.

    "No change in the effusions or the atelectasis", "effusion and atelectasis are unchanged".
    """
    for number in range(1, len(described)):
        one, two = described[number - 1], described[number]
        change, later = one[0].get("change"), two[0].get("change")
        if change and not later and _is_listed(sentence, number):
            joint = sentence.text[sentence.candidates[number - 1].end : sentence.candidates[number].start]
            if joint == " and " or _is_said_of_list(sentence, number - 1):
                for part in two:
                    part["change"] = change
    is_shared = False
    for number in range(len(described) - 1, 0, -1):
        one, two = described[number - 1], described[number]
        change, later = one[0].get("change"), two[0].get("change")
        is_shared = is_shared or _is_said_of_both(sentence, number)
        is_shared = bool(later and not change and is_shared and _is_listed(sentence, number))
        if later and is_shared:
            for part in one:
                part["change"] = later


_PAIR = re.compile(r" ?(?:or|and|and ?/ ?or|nor|versus|vs\.?|from|over|/) ?$")
_APART = re.compile(r", (?:not|rather than|instead of)(?: an?| the)? $")


def _share_place(described: list[list[_Described]], sentence: _Sentence) -> None:
    """Gives the side behind the last of a pair to both: "consolidation versus atelectasis at the right base".

    A side behind one that is set apart is that of the finding before it: "a nodule, not a mass, at the right apex".
    """
    for number in range(len(described) - 1, 0, -1):
        one, two = described[number - 1], described[number]
        if "laterality" not in two[0]:
            continue
        joint = sentence.text[sentence.candidates[number - 1].end : sentence.candidates[number].start]
        if "laterality" not in one[0] and _PAIR.fullmatch(joint):
            end = sentence.candidates[number].end
            behind = sentence.between(end, end + _NEAR)
            inside = sentence.between(sentence.candidates[number - 1].end, end)
            has_own = "and" in joint and any(mark.value("laterality") for mark in inside)
            if not has_own and any(mark.value("laterality") == two[0]["laterality"] for mark in behind):
                described[number - 1] = [part | {"laterality": two[0]["laterality"]} for part in one]
        elif _APART.fullmatch(joint) and _is_behind_comma(sentence, number):
            side = two[0].pop("laterality")
            if "laterality" not in one[0]:
                described[number - 1] = [part | {"laterality": side} for part in one]


def _is_behind_comma(sentence: _Sentence, number: int) -> bool:
    """Whether candidate `number` has its side from the words behind the comma that follows it."""
    end = sentence.candidates[number].end
    inside = sentence.between(sentence.candidates[number - 1].end, end)
    return sentence.text[end : end + 1] == "," and not any(mark.value("laterality") for mark in inside)


def _is_listed(sentence: _Sentence, number: int) -> bool:
    """Whether nothing but "and", "or" or a comma joins candidate `number` to the one before it."""
    one, two = sentence.candidates[number - 1], sentence.candidates[number]
    between = range(one.last + 1, two.first)
    words = sentence.text[one.end : two.start].split()
    joints = (index for index in between if not _is_degree(sentence, index))
    is_joined = all(
        index not in sentence.boundaries and sentence.hits[index].entry.role in _LISTING for index in joints
    )
    return len(words) <= _LONGEST_JOINT and is_joined and one.end < two.start


def _is_degree(sentence: _Sentence, index: int) -> bool:
    """Whether hit `index` begins an item of a list by a degree: "mild"."""
    hit = sentence.hits[index]
    return hit.entry.role in ("break", "state") and any(kind == "severity" for kind, _ in hit.entry.attributes)


_LONGEST_JOINT = 5
# characters within which words are taken to belong to a list of findings, and to a verb
_NEAR = 80
_LONGEST_ADVERB = 24
_ANDS = tuple(f" and {side}" for side in ("", "left ", "right ", "the ", "the left ", "the right ", "a ", "both "))
_CHANGE_OF = re.compile(r" ?(?:in|of)\b|:|,? (?:is|are|remains?) (?:the|an?|also)\b")


def _is_said_of_list(sentence: _Sentence, number: int) -> bool:
    """Whether the change of a candidate stands before it and reaches on: "no change in ...", "no change: ..."."""
    start = sentence.candidates[number].start
    marks = [mark for mark in sentence.between(max(0, start - _NEAR), start) if mark.value("change")]
    text = sentence.text
    return bool(marks) and (
        text[marks[-1].start : marks[-1].end].endswith((" in", " of", ":", "no change"))
        or _CHANGE_OF.match(text, marks[-1].end) is not None
    )


def _is_said_of_both(sentence: _Sentence, number: int) -> bool:
    """Whether the change of a candidate stands behind a verb, "... are unchanged", or right behind "A and B"."""
    last, end = sentence.candidates[number].last, sentence.candidates[number].end
    if sentence.text[sentence.candidates[number - 1].end : sentence.candidates[number].start] in _ANDS:
        behind = sentence.between(end, end + 2)
        if behind and behind[0].value("change"):
            return True
    behind_list = sentence.hits[last + 1 : last + 3]
    if len(behind_list) > 1 and behind_list[0].entry.role == "comma":
        behind_list = behind_list[1:]  # "two findings, pneumonia and a nodule, are new"
    verb = behind_list[0] if behind_list else None
    if verb is None or not verb.entry.has_verb:
        return False
    return any(mark.value("change") for mark in sentence.between(end, verb.end + _LONGEST_ADVERB))
