"""Words that a sentence leaves out, put in before it is read, and turns of phrase for which there is a plainer one.

"Pneumonia is excluded, edema is not" is read as "..., edema is not excluded", and "any edema is mild" as
"possible edema is mild".
"""

import re

from trrg_core.report.past_times import PRESENT, THEN
from trrg_core.report.scan import Plain, Scan, names_finding, replaced
from trrg_core.report.telling_words import LEFT_OUT, NOT, PAST

_PARTICIPLE = r"(?:ruled out|excluded|changed|improved|worsened|increased|decreased|progressed|enlarged|grown|removed)"
# "X has been ruled out, Y has not"
_LEFT_OUT = re.compile(
    rf"\b(?:has|have|is|are) (?:now )?((?:been )?{_PARTICIPLE})[,;]?(?: (?:but|while|whereas|and|yet))?"
    r" [^,;]{3,60}? (?:has|have|is|are) not()(?=[.;]?$)"
)
# "X is not ruled out, but Y is"
_LEFT_OUT_NOT = re.compile(
    rf"\b(?:has|have|is|are) not (?:yet )?((?:been )?{_PARTICIPLE})[,;]? (?:but|while|whereas|yet)"
    r" [^,;]{3,60}? (?:has|have|is|are)()(?=[.;]?$)"
)
# "small effusion right, none left"
_NONE_LEFT = re.compile(r"(?<=right), (none) left(?=[.,;]|$)|(?<=left), (none) right(?=[.,;]|$)")
_NONE_ON = "none on the"
# "an infiltrate yesterday; that is no longer visible"
_PRONOUN = re.compile(
    r"(; (?:it|this|that|these|they|those)) (?=(?:is|are|has|have) (?:now |since )?(?:cleared|resolved|gone"
    r"|been removed"
    r"|disappeared|(?:no longer|not|not now|not any longer) (?:seen|visible|present|evident|identified|there))\b)"
)
_TELLS_PAST = re.compile(r"\b(?:history of|showed|demonstrated|revealed|was|were|had)\b")
_WHICH = ", which"
# "pneumothorax and effusion were looked for; none of them is present", "effusion, edema: none of them is seen"
_NONE_OF_THEM = re.compile(
    r"((?: (?:were|are|was|is) (?:all |each |both )?(?:looked for|sought|searched for|considered|asked about)"
    r"[^;:,.]*"
    r"[;:,.] ?(?:but )?(?:none|neither)(?: of (?:them|these|which))?|[;:,] ?(?:but )?(?:none|neither) of "
    r"(?:them|these))"
    rf" (?:is|are|was|were) {PRESENT})\b"
)
_ARE_ABSENT = " are not seen"
# "none of pneumothorax, effusion or edema is seen"
_NONE_OF = re.compile(
    rf"^(none of )(?!(?:the|these|those|them|which)\b)[^;:.]{{3,100}} (?:is|are|was|were) {PRESENT}\b"
)
_NO = "no "
# "nodules are absent, and so is lymphadenopathy"
_SO_IS = re.compile(
    rf"\b((?:is|are|has|have) (?:absent|resolved|cleared|gone|excluded|ruled out|not {PRESENT}))"
    r",? (?:and|but) (so (?:is|are|has|have) )[^,;:.]{3,50}()(?=[,;.]|$)"
)
# "on the prior film there was an effusion; today there is none"
_NONE_NOW = re.compile(
    r"([;,] (?:but |and )?(?:today|now|currently|on today's (?:film|study)|on this (?:film|study)),?"
    r" (?:there (?:is|are) )?none(?: is seen| are seen)?|; none (?:is|are) (?:now )?(?:seen|visible|present|identified)"
    r"(?: (?:today|now|on (?:this|the current|today's) (?:film|study|exam|radiograph)))?)(?=[.;]?$)"
)
_NO_LONGER = ", which is no longer seen"
# "the differential for the opacity includes edema and hemorrhage"
_DIFFERENTIAL = re.compile(
    r"((?:the |less likely |other |further )?(?:differential(?: diagnosis| considerations)?|considerations"
    r"|possibilities|possible causes|explanations) (?:for|of) )(?:the )?[^,;:.]{3,60}"
    r" (includes?|comprises?|would include|consists? of)\b"
)
_MAY_BE = "may represent"
# "any edema is mild": whether there is one stays open
_ANY = re.compile(r"^(any )(?!(?:of|other|further|more)\b)[^,;:]{3,50} (?:is|are|would be|must be|has to be|will be) ")
_POSSIBLE = "possible "
# "previously noted pneumonia.", of which nothing else is said
_PREVIOUSLY = re.compile(
    r"^(?:the )?(previously (?:noted|seen|described|reported|identified|documented|mentioned) )[^,;:]+$"
)
_PRIOR = "prior "
# "gone since Tuesday: the right effusion"
_GONE_LABEL = re.compile(
    r"^((?:gone|cleared|disappeared|no longer (?:seen|visible|present))(?: since [^:,;]{2,25})?) ?:"
)
_RESOLVED = "resolved"
# "new since admission: infiltrates and a right jugular line"
_CHANGED_LABEL = re.compile(r"^(?:new|unchanged|stable|worse|improved|larger|smaller)( since [^:,;]{2,30}?) ?:")
# "gone since the weekend is the right pneumothorax"
_GONE_IS = re.compile(
    r"^((?:now )?(?:gone|resolved|cleared|no longer (?:seen|visible|present))(?: since [^,;:]{2,25}?)?,? (?:is"
    r"|are) )the\b"
)
_RESOLVED_OF = "resolved: "
# "the pneumothorax seen after the biopsy has resolved"
_SEEN_THEN = re.compile(
    r" ((?:seen|noted|present|described|identified|visible) (?:after|before|following|during|since|at the time of)"
    r" (?![^,;]*\b(?:left|right|both)\b)[^,;:.]{3,40}? )(?=(?:is|are|has|have|looks?|appears?|remains?)\b)"
)
# "a pneumothorax on the right, seen yesterday, is not visible any more"
_SEEN_COMMA = re.compile(rf"(, (?:seen|noted|present) {THEN},)(?= (?:is|are|has|have|looks?|appears?|remains?)\b)")
# "no effusion (a small one was present last week)"
_ASIDE_THEN = re.compile(
    rf"( ?\((?:an?|the|it|one|this|that)\b[^()]*? (?:was|were|had been) (?:[^()]*? )?{THEN}\))", re.IGNORECASE
)
_PARTICIPLES = (" after ", " before ", " following ", " during ", " since ", " at the time of ")


def with_left_out(scan: Scan) -> Plain | None:
    """The sentence of `scan` with the first of such words; None where none is left out."""
    plain = scan.plain
    text = plain.text
    if (", seen " in text or ", noted " in text or ", present " in text) and (match := _SEEN_COMMA.search(text)):
        return replaced(plain, *match.span(1), "")
    if "(" in text and plain.words & PAST and (match := _ASIDE_THEN.search(text)):
        return replaced(plain, *match.span(1), "")
    if not plain.words & (NOT | LEFT_OUT) and ";" not in text and ":" not in text and not text.startswith("any "):
        return None
    if plain.words & NOT and (match := _LEFT_OUT.search(text)):
        return replaced(plain, *match.span(2), f" {match[1]}")
    if plain.words & NOT and (match := _LEFT_OUT_NOT.search(text)):
        return replaced(plain, *match.span(2), f" {match[1]}")
    if " none " in text and (match := _NONE_LEFT.search(text)):
        return replaced(plain, *match.span(match.lastindex or 1), _NONE_ON)
    if ";" in text and (match := _PRONOUN.search(text)) and _TELLS_PAST.search(text, 0, match.start()):
        return replaced(plain, *match.span(1), _WHICH)
    if (" none " in text or " neither " in text) and (match := _NONE_OF_THEM.search(text)):
        return replaced(plain, *match.span(1), _ARE_ABSENT)
    if text.startswith("none of ") and (match := _NONE_OF.match(text)):
        return replaced(plain, *match.span(1), _NO)
    if " so " in text and (match := _SO_IS.search(text)):
        return replaced(replaced(plain, *match.span(3), f" {match[1]}"), *match.span(2), "")
    if " none" in text and (match := _NONE_NOW.search(text)) and _TELLS_PAST.search(text, 0, match.start()):
        return replaced(plain, *match.span(1), _NO_LONGER)
    if " for " in text and (match := _DIFFERENTIAL.search(text)):
        return replaced(replaced(plain, *match.span(2), _MAY_BE), *match.span(1), "")
    if match := _GONE_IS.match(text):
        return replaced(plain, *match.span(1), _RESOLVED_OF)
    if ":" in text and (match := _CHANGED_LABEL.match(text)):
        return replaced(plain, *match.span(1), "")
    if ":" in text and (match := _GONE_LABEL.match(text)):
        return replaced(plain, *match.span(1), _RESOLVED)
    if text.startswith("any ") and (match := _ANY.match(text)):
        return replaced(plain, *match.span(1), _POSSIBLE)
    if (
        any(word in text for word in _PARTICIPLES)
        and (match := _SEEN_THEN.search(text))
        and not names_finding(scan, *match.span(1))
        and any(hit.entry.is_target and hit.end == match.start() for hit in scan.hits)
    ):
        return replaced(plain, *match.span(1), "")
    if not plain.words & PAST:
        return None
    if "previously" in text and (match := _PREVIOUSLY.match(text)) and _only_names(scan):
        return replaced(plain, *match.span(1), _PRIOR)
    return None


def _only_names(scan: Scan) -> bool:
    """Whether nothing is said of what is named: no verb, no change."""
    return not any(hit.entry.has_verb for hit in scan.hits) and not any(
        kind == "change" for hit in scan.attributes for kind, _ in hit.entry.attributes
    )
