"""Clause boundaries, which no negation reaches across.

"No effusion is seen, and the heart is enlarged" has two clauses; "no effusion, edema, and pneumothorax" has one.
"""

import re
from collections.abc import Sequence

from trrg_core.report.scan import Hit

_SEPARATORS = frozenset(["comma", "and", "new_item", "stop"])
JOINTS = frozenset(["comma", "and", "new_item", "with"])
_EXISTS = frozenset(("there is", "there are", "there was", "there were"))
_NEW_CLAUSE = ("break", "stop", "place")
# a list that goes on to its "or": "no pneumothorax, | small effusion, or consolidation"
_LIST_TO_OR = re.compile(r"(?! ?(?:no|but|the|there|and) )(?:[a-z /]{3,50}, ){1,4}or ")
# a whole statement without a verb: "right effusion bigger, | left effusion gone"
_IS_STATED = re.compile(
    r" (?:bigger|smaller|larger|better|worse|gone|resolved|removed|up|down|progressing|unchanged|stable|same|increased"
    r"|decreased|likely|probable|possible|ok|no change|persistent|persisting|persists|resolving|clearing|favou?red"
    r"|preferred|suspected|doubtful|questionable|excluded|ruled out)\Z"
)
_PREPOSITION = "absent.without"
_ANY_DEVICE = "other_device"
_LARGE_HEART = "cardiomegaly"
# what is stated where it is there and hardly ever denied: "no edema, calcified aorta" has two statements
_SELDOM_DENIED = frozenset(
    (
        *("aortic_tortuosity", "aortic_calcification", "scoliosis", "kyphosis", "degenerative_change", "osteopenia"),
        *("low_lung_volumes", "hyperinflation", "elevated_diaphragm", "granuloma", "surgical_clips", "sternal_wires"),
        *("scar", "pleural_scar", "calcified_nodule"),
    )
)
_SIDE = r"(?:left|right|bilateral|lt|rt|l|r|rul|rml|rll|lul|lll|b/l|bilat)"
# behind the last item of a denial, with a denial of its own or none: "no ptx, effusion smaller", "no ptx, edema +"
_SAID_BEHIND = re.compile(
    r" ?\(?\+| (?:unchanged|stable|same|smaller|larger|bigger|better|worse|increased|decreased"
    r"|improv(?:ed|ing)|gone|ok|(?:most )?likely|probab(?:ly|le)|possib(?:ly|le)|presumably)\b(?!,? (?:or|nor)\b)"
)
# in notes: "no ptx, consolidation R base"
_SIDE_BEHIND = re.compile(
    r" (?:(?:l|r|lt|rt) (?:base|apex|lung|side|hilum|chest|upper|mid|lower)|rul|rml|rll|lul|lll|b/l|bilat"
    r"|[lr](?=[,;.]|\Z))(?![a-z ]*,? (?:or|nor)\b)"
)
# behind a denial that lists with a slash: "no ptx/eff, atelectasis at both bases"
_SLASHED = re.compile(r"\b(?:no|nil|without) [a-z ]+(?:/[a-z ]+)+\Z")
_WHERE_BEHIND = re.compile(r" (?:at|in|on|of|over|with|to) ")
# between denials: "no consolidation, cardiomegaly, no edema"
_STATED_BETWEEN = re.compile(
    r" (?:cardiomegaly|(?:raised|elevated|flattened|tortuous|unfolded|calcified) [a-z ]{3,24}"
    r"|(?:heart|aorta) (?:is )?(?:enlarged|big|large|tortuous|unfolded|calcified)),(?= no )"
)
# the item is one of a list that goes on: "no effusion, chest tube or pneumothorax"
_LISTED_WITH_OR = re.compile(r"[^,;:.]*(?:,? (?:or|nor) )")
_DEVICES = frozenset(
    (
        *("endotracheal_tube", "tracheostomy", "enteric_tube", "central_venous_catheter", "chest_tube", "pacemaker"),
        *("sternal_wires", "surgical_clips"),
    )
)
_STATED = re.compile(
    rf" (?:(?:{_SIDE}|upper|lower|mid|middle|lobe) )*"
    r"(?:(?:bi)?bas(?:al|ilar)|bibas|linear|plate ?like|discoid|subsegmental|streaky|healed)\b"
)
_DENIAL_AND_FINDING = 2
# of a phrase of doubt that holds the verb of its clause: "may reflect"
_MODALS = ("may ", "might ", "could ", "can ", "would ")
# of what is no subject
_NO_SUBJECT = frozenset(("stop", "state", "colon", "with", "participle", "open", "close"))
_MOST_SUBJECTS = 12
_PLURAL_VERB = re.compile(r"(?:are|have|were|remain|appear|persist)\b")
_SINGULAR = re.compile(r"(?:[^s]|sis|ss|us)\Z(?<!hila)(?<!ae)")
_ARTICLE = re.compile(r"\b(?:the|both the|his|her)(?: [a-z]+){0,2} \Z")
_ON_SIDE = re.compile(rf" {_SIDE} ")
# "nodules but no cavities, | lymphadenopathy but no mass"
_BUT_NO = re.compile(r" (?:and )?(?!(?:and|or|but|nor|no|without) )(?:[a-z]+ ){1,5}but no\b")
# "nodule in the right upper lobe, | metastasis cannot be excluded"
_DOUBTED_NEXT = re.compile(r" (?:an? )?[a-z]+(?: [a-z]+)? (?:cannot|can not|could not) be (?:[a-z]+ )?excluded\b")
# a predicate that leaves out its verb: "edema is present and emphysema absent"
_GAPPED = re.compile(
    r" (?:absent|excluded|possible|probable|likely|unlikely|suspected|questionable|unchanged|stable|present|resolved"
    r"|gone|denied|doubtful|definite|certain|ruled out|not (?:seen|present|identified|excluded))"
    r"(?=[.,;]?$|[,;]| (?:and|but) )"
)
_PLACED = re.compile(r" (?:in|at|over) the [a-z ]{3,30}\Z")
# "resolution of the edema, the right effusion and the atelectasis"
_THE_NEXT = ("and the", ", the")
_GOES_ON = re.compile(r" (?:or|nor|and/or|and) |, (?:or|nor|and) ")


def find_boundaries(hits: Sequence[Hit], text: str = "") -> set[int]:
    """Indices of the hits (stops, commas, "and") that end a clause; `text` is that of the hits."""
    boundaries: set[int] = set()
    if ";" not in text and _SEPARATORS.isdisjoint([hit.entry.role for hit in hits]):
        return boundaries
    leads_to_or = ", or " in text
    verb_ahead: list[bool] = []
    stated_ahead: list[bool] = []
    has_verb = has_target = has_preposition = is_removal = False
    start = 0  # of the clause
    for index, hit in enumerate(hits):
        entry = hit.entry
        role = entry.role
        if (
            role == "stop"
            or text.startswith(";", hit.start)
            or (role == "comma" and has_target and " but no" in text and _BUT_NO.match(text, hit.end))
            or (
                role == "comma"
                and has_target
                and _DOUBTED_NEXT.match(text, hit.end)
                and _PLACED.search(text, 0, hit.start)
            )
            or (
                role in _SEPARATORS
                and (
                    (
                        has_verb
                        and (verb_ahead := verb_ahead or _ahead(hits, _verbs(hits), ("comma", "stop"), text))[index]
                    )
                    or (has_preposition and stated_ahead[index])
                    or (has_target and role == "comma" and _IS_STATED.search(text, max(0, hit.start - 14), hit.start))
                    or (has_target and (role == "new_item" or _opens_clause(hits, index, role)))
                    or (has_target and role == "comma" and _is_stated(hits, index, text))
                    or (has_verb and has_target and _is_gapped(hits, index, text))
                )
                and not (is_removal and role == "new_item" and text.startswith(_THE_NEXT, hit.start) and not has_verb)
                and not (role == "new_item" and not has_verb and _joins_subjects(hits, index, start, text))
                and not (leads_to_or and role == "comma" and not has_verb and _LIST_TO_OR.match(text, hit.end))
            )
        ):
            boundaries.add(index)
            start = index + 1
            has_verb, has_target, has_preposition = entry.has_verb, False, False
            is_removal = False
        else:
            has_verb = has_verb or entry.has_verb or role == "participle" or text.startswith(_MODALS, hit.start)
            has_target = has_target or role in ("finding", "state")
            if entry.terms[0].name == "absent.resolved":
                is_removal, has_verb = True, False
            if not has_preposition and entry.terms[0].name == _PREPOSITION:
                has_preposition = True
                stated_ahead = stated_ahead or _ahead(hits, _statements(hits), ("comma", "new_item", "stop"), text)
    return boundaries


def _is_gapped(hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether the finding behind the joint at `index` has a predicate of its own, without its verb."""
    following = hits[index + 1] if index + 1 < len(hits) else None
    return following is not None and following.entry.is_finding and _GAPPED.match(text, following.end) is not None


def _joins_subjects(hits: Sequence[Hit], index: int, start: int, text: str) -> bool:
    """Whether the article behind the joint at `index` begins another subject of one verb: "the ETT and the NGT are".

    The verb is a plural one behind a singular noun, or nothing but subjects with articles stands in front of it.
    """
    for hit in hits[start:index]:
        if hit.entry.role in _NO_SUBJECT or hit.entry.directions:
            return False
    for hit in hits[index + 1 : index + _MOST_SUBJECTS]:
        if hit.entry.has_verb:
            before = text[: hit.start].rstrip()
            first = hits[start].start if start < len(hits) else 0
            is_plural = _PLURAL_VERB.match(text, hit.start) is not None
            return is_plural and (_SINGULAR.search(before) is not None or _ARTICLE.search(text, 0, first) is not None)
        if hit.entry.role in _NO_SUBJECT or (hit.entry.directions and not hit.entry.is_target):
            return False
    return False


def _verbs(hits: Sequence[Hit]) -> list[bool]:
    return [hit.entry.has_verb for hit in hits]


def _statements(hits: Sequence[Hit]) -> list[bool]:
    """Which hits are a verb, or a phrase of uncertainty, which contains one: "may reflect"."""
    return [hit.entry.has_verb or any(term.value == "UNCERTAIN" for term in hit.entry.terms) for hit in hits]


def _ahead(hits: Sequence[Hit], is_sought: Sequence[bool], ends: Sequence[str], text: str) -> list[bool]:
    """For each hit, whether one that is sought follows before the next hit of a role in `ends`."""
    ahead = [False] * len(hits)
    seen = False
    for index in range(len(hits) - 1, -1, -1):
        ahead[index] = seen
        role = hits[index].entry.role
        if role in ends or (role == "new_item" and text.startswith(", and", hits[index].start)):
            # ", and the heart is normal": the "and" right behind the comma decides
            seen = False
        seen = seen or is_sought[index]
    return ahead


def _opens_clause(hits: Sequence[Hit], index: int, role: str) -> bool:
    """Whether the word right behind a comma or "and" begins something new: "a", "stable", "there", a cue."""
    if index + 1 >= len(hits) or hits[index + 1].start > hits[index].end + 1:
        return False
    for term in hits[index + 1].entry.terms:
        if term.role == "place":
            # "normal heart, lungs are clear", not "normal heart, mediastinum, and hila"
            return role == "comma" and _is_described(hits, index + 1)
        if term.role in _NEW_CLAUSE or (term.role != "finding" and term.direction == "forward"):
            return True
    return False


def _is_stated(hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether a denial before the comma at `index` says nothing of the last item behind it: "no ptx, left effusion"."""
    following = hits[index + 1] if index + 1 < len(hits) else None
    if following is None:
        return False
    comma = hits[index].end
    if following.entry.is_place and _ON_SIDE.match(text, comma) and not _GOES_ON.search(text, comma):
        return _is_described(hits, index + 1)  # "no edema, R CP angle blunted"
    if not following.entry.is_finding:
        return following.entry.part in ("place", "state") and _STATED_BETWEEN.match(text, comma) is not None
    if _SAID_BEHIND.match(text, following.end) or _SIDE_BEHIND.match(text, following.end):
        return True
    if "/" in text and _WHERE_BEHIND.match(text, following.end) and _SLASHED.search(text, 0, hits[index].start):
        return True
    if following.entry.terms[0].name == _LARGE_HEART and _STATED_BETWEEN.match(text, comma):
        return True
    if following.entry.terms[0].name in _DEVICES and _begins_devices(hits, index, text):
        return True
    is_seldom_denied = following.entry.terms[0].name in _SELDOM_DENIED
    is_on_side = _ON_SIDE.match(text, comma) is not None
    if not (is_seldom_denied or is_on_side or _STATED.match(text, comma)) or _GOES_ON.search(text, comma):
        return False
    denied = hits[max(0, index - _DENIAL_AND_FINDING) : index]
    if len(denied) != _DENIAL_AND_FINDING or denied[0].entry.terms[0].name not in ("absent.no", _PREPOSITION):
        return False
    is_alike = is_seldom_denied and denied[1].entry.terms[0].name in _SELDOM_DENIED
    return not is_alike and not (is_on_side and _ON_SIDE.search(text, denied[0].start, comma))


def _begins_devices(hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether the device behind the comma at `index` is the first one named: "no ptx, ETT 4 cm above carina"."""
    before = hits[index - 1].entry
    is_other = before.is_finding and before.terms[0].name not in _DEVICES and before.terms[0].name != _ANY_DEVICE
    return is_other and _LISTED_WITH_OR.match(text, hits[index].end) is None


def _is_described(hits: Sequence[Hit], index: int) -> bool:
    """Whether a verb, a state or a finding follows the place at `index` before the next comma or stop."""
    for hit in hits[index + 1 :]:
        if hit.entry.role in ("comma", "and", "new_item", "stop"):
            return False
        if hit.entry.has_verb or hit.entry.is_target:
            return True
    return False


def clause_starts(hits: Sequence[Hit], boundaries: set[int]) -> list[int]:
    """Where clauses begin that follow a whole statement; "in the right lung, there is" is none."""
    starts = []
    states = False
    for index, hit in enumerate(hits):
        if index in boundaries:
            if states or hit.entry.length == 1:  # a semicolon ends any statement
                starts.append(hit.start)
            states = hit.entry.has_verb and hit.entry.role != "stop"
        states = states or hit.entry.is_target or (hit.entry.role == "verb" and index not in boundaries)
    return starts


def is_statement(hits: Sequence[Hit], joint: int, text: str) -> bool:
    """Whether what stands before an "and" is denied, or has a verb: doubt of what follows is of that alone."""
    if "and" not in text[hits[joint].start : hits[joint].end].split(" "):
        return False
    comma = joint - (hits[joint - 1].entry.role == "comma")
    for hit in reversed(hits[:comma]):
        role, words = hit.entry.role, text[hit.start : hit.end]
        if role in JOINTS:
            return False
        if role == "verb" or words in _EXISTS or any(term.name == "absent.no" for term in hit.entry.terms):
            return True
        if role in ("stop", "colon", "open", "close"):
            return False
    return False
