"""Comparisons with an earlier study, which a generated sentence must not make when the study has no prior.

Words of change and of earlier studies count ("unchanged", "new", "has grown", "the last film"). Similar words do not:
"enlarged" and "larger than the right" describe one image, "prior sternotomy" is the patient's history.
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
    | \b(?:larger|smaller|bigger|worse|better|denser|same|similar|identical)\s+(?:\w+\s+){0,3}?(?:than|as|to)\s+
        (?:(?:on|in|at|the|that|of)\s+){0,3}(?:left|right|contralateral|opposite|other|normal|expected|usual|average)\b
    | \bremaining\b
    # what is asked for, not what has happened
    | \b(?:to|until|for|document|confirm|ensure|assess)\s+(?:\w+\s+){0,2}?(?:resolution|clearing|stability)\b
    | \bresolution\s+of\s+(?:the\s+|this\s+)?(?:image|film|study|examination)s?\b
    | \bcontinued\s+(?:\w+\s+){0,2}?(?:follow|surveillance|monitoring|evaluation|attention|concern|symptom|pain)\w*
    | \brecurrent\s+laryngeal\b | \bprogressive\s+massive\b | \bnew\s+york\b
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
    | \b(?:similar|identical)\s+(?:to|in)\b | \bcleared\b | \bclearing\b
    # an earlier study by another name, or its day
    | \b(?:last|former|old|outside|recent|serial)\s+(?:\w+\s+)?(?:stud(?:y|ies)|films?|radiographs?|exam(?:ination)?s?|
        images?|imaging|x-?rays?|chest|ct)\b
    | \byesterday\b | \blast\s+(?:time|night|week|month)\b | \binterim\b | \bover\s+(?:time|the\s+(?:past|last))\b
    | \b(?:as|than)\s+(?:\w+\s+){0,2}?before\b
    # what only a second film shows
    | \b(?:has|have)\s+(?:\w+\s+){0,2}?(?:grown|enlarged|shrunk|expanded|regressed|receded|disappeared|appeared|
        developed|become|gone|lessened|diminished|subsided|abated|deteriorated)\b
    | \b(?:tubes?|catheters?|lines?|picc|drains?|wires?|leads?|ports?|devices?|pump)\s+(?:\w+\s+){0,3}?
        (?:has|have)\s+been\s+(?:\w+\s+){0,2}?(?:removed|withdrawn|retracted|pulled|advanced|repositioned|exchanged|
        replaced|placed|inserted)\b
    | \b(?:is|are|appears?|looks?|seems?)\s+(?:(?!an?\b|the\b)\w+\s+)?(?:larger|smaller|bigger|worse)\b
        (?!\s+(?:on|in|at)\b)
    | \bbetter\s+(?:\w+\s+)?(?:aerat|inflat|expand)\w+
    | \bre-?(?:accumulat|expan[ds]|appear|identif|visuali[sz])\w*
    | \b(?:now|still|ongoing|unaltered|unresolved|constant|grew|waxing|waning|status\s+quo)\b
    | \bcontinued\b | \brecurren(?:t|ce)\b | \bdeteriorat\w+ | \bexacerbat\w+
    | \b(?:little|minimal|slight)\s+(?:interval\s+)?change\b(?!\s+of\b) | \bappearance\s+is\s+(?:\w+\s+)?similar\b
    | \bresidual\s+(?:\w+\s+){0,2}?(?:pneumothorax|effusions?|edema|pneumonia|consolidations?|opacit(?:y|ies))\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def compares_with_prior(sentence: str) -> bool:
    """Whether `sentence` mentions an earlier study or a change since one."""
    return _COMPARES.search(_STATIC.sub(" ", sentence)) is not None
