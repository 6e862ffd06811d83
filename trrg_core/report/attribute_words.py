"""Words around a mention that are no attributes themselves, and the shapes of a place in front of a clause."""

import re

# beside attributes, the words of a stretch that says nothing but where and how much
FILLERS = frozenset(
    (
        *("a", "an", "the", "of", "in", "on", "at", "is", "are", "one", "ones", "now", "also", "and", "both", "to"),
        *("upper", "lower", "middle", "mid", "lobe", "lobes", "lung", "lungs", "zone", "zones", "sided", "side"),
        *("sides", "greater", "than", "only", "present", "seen", "again", "size", "sized", "degree", "component"),
        *("from", "this", "morning", "since", "prior", "previous", "comparison", "overall", "last", "with"),
        *("aspect", "yes", "exam", "examination", "study", "film", "radiograph", "ct", "slowly", "slightly", "today"),
        *("yesterday", "yest", "then", "before", "sl", "lesser", "extent", "earlier", "ago", "atrium", "ventricle"),
        # a degree of then, which is no attribute
        *("trace", "tiny", "minimal", "small", "mild", "moderate", "large", "severe"),
    )
)
# "larger than in March", "unchanged for 3 weeks"
DATE = re.compile(
    r"\d|(?:jan|febr)uary|march|april|june|july|august|[a-z]+(?:to|em)ber$|[a-z]*day$|(?:week"
    r"|month|year|film|hour)s?$|(?:for|two|three|four|five|six|several|many|some|past)$"
)
# a place in front of a clause
FRONTED = re.compile(
    r"[,;] (?:and |but |while )?(?:on|in|at) the (?:left|right)(?: side| lung| base| apex"
    r"| (?:upper|middle|lower) (?:lobe|zone))?"
)
# words between a side and what it belongs to
PARTS = ("", "upper", "lower", "middle", "mid")
# a finding of its own where it stands for one
SIDE_WORDS = ("left", "right", "l", "r", "former", "latter")
# "edema, which is worse", "a nodule, first seen in 2015, has not grown"
# the main clause behind a relative one
GOES_ON = re.compile(r", (?:is|are|lies?|projects?|sits?|measures?|extends?|occupies|occupy|involves?|remains?)\b")
RELATIVE = re.compile(
    r"(?:(?: (?:is|are) (?:present|seen|noted|visible|identified|there))?,? which"
    r"(?: (?:was|were|had been|had) [^,;]{3,60},)?|,? where (?:it|this|they)"
    r"|,[^,;]{3,60},|which (?:you|we"
    r"|i|they) [^,;]{3,40}?|,(?: today| now| currently)?)"
    r" (?=(?:being|having|is|are|was|were|has|have|appears?|remains?|lies|lie|sits|projects|measures|occupies"
    r"|involves|abuts)\b)"
)
# at the place that was named before: "pneumonia there is possible", "no nodule is seen there"
THERE = (
    r"(?<=[a-z] )there(?=[.,;]|$| (?:cannot|can|could|may|might|would|has|have|seems?|remains?)\b"
    r"| (?:is|are) (?:also )?(?:possible|likely|probable|conceivable|suspected|not (?:entirely )?excluded"
    r"|difficult to exclude)\b(?: ?[.,;]|$))"
)
# "enlarged but stable", "small but slightly larger since yesterday"
BUT = re.compile(r",? ?(?:but|yet|though|although) (?:(?:it )?(?:is|are|has|have|appears?|remains?) )?")
CLAUSE_END = re.compile(r"\.?$|[,;]| (?:since|from|compared|than|in size|in the interval|today)\b")
