"""Comparisons with an earlier study, which a generated sentence must not make when the study has no prior.

Words of change and of earlier studies count ("unchanged", "new", "since the prior"). Similar words do not: "enlarged"
and "elevated" describe one image, "prior sternotomy" is the patient's history.
"""

import re

# masked before the search: each contains a word of change, but describes this image or the patient's history
_STATIC = re.compile(
    r"""
    \b(?:increased|decreased|diminished)\s+(?:\w+\s+){0,2}?
        (?:markings|densit(?:y|ies)|lucency|attenuation|transparency|diameter|kyphosis|lordosis|mineralization|
           volumes?|inspiration|inspiratory|conspicuity|prominence)\b
    | \bvolumes?\s+(?:is|are)\s+(?:\w+\s+)?(?:increased|decreased)\b
    | \b(?:prior|previous|earlier)\s+(?:\w+\s+){0,2}?
        (?:sternotomy|thoracotomy|surger(?:y|ies)|operation|resection|lobectomy|mastectomy|cholecystectomy|cabg|
           bypass|repair|replacement|fusion|granulomatous|infection|trauma|fractures?|injury|tuberculosis|
           radiation|vertebroplasty|kyphoplasty|tracheostomy|biopsy|procedure)\b
    | \bcompared\s+(?:to|with)\s+(?:the\s+)?(?:left|right|contralateral|opposite|other)\b
    | \bnew\s+york\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMPARES = re.compile(
    r"""
    \bcompar(?:ed|ison|isons|ing)\b | \bcomparable\s+(?:to|with)\b
    | \b(?:prior|previous|previously|preceding|earlier)\b
    | \bsince\s+(?:the|that|prior|previous|last|yesterday|earlier|study|exam)\b
    | \binterval(?:ly)?\b
    | \bunchanged\b | \b(?:no|without)\s+(?:\w+\s+){0,2}?change\b | \bchanged\b
    | \bstabl[ey]\b | \bstability\b
    | \bagain\b | \bre-?demonstrat\w+
    | \bpersist\w* | \bremain(?:s|ed|ing)?\b
    | \bnew(?:ly)?\b
    | \bworse(?:n|ned|ning)?\b | \bimprov(?:ed|es|ing|ement)\b
    | \b(?:in|de)creas(?:e|ed|es|ing)\b | \bprogress(?:ed|es|ing|ion|ive|ively)\b
    | \bresolv(?:ed|ing)\b | \bresolution\s+of\b | \bno\s+longer\b
    | \b(?:similar|identical)\s+(?:to|in)\b | \bas\s+before\b | \bcleared\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def compares_with_prior(sentence: str) -> bool:
    """Whether `sentence` mentions an earlier study or a change since one."""
    return _COMPARES.search(_STATIC.sub(" ", sentence)) is not None
