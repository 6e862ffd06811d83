"""Words for a time before this study: "two days ago", "on the October study", "in 2019", "before surgery"."""

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_YEAR = r"(?:19|20)\d\d"
_CLOCK = r"(?:\d{1,2}[:.]\d\d|\d{4}|\d{1,2} ?(?:am|pm|a\.m\.?|p\.m\.?|h|hrs?|hours?)|noon|midnight)"
_NUMBER = r"(?:\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|a few|several|some|many)"
_PART = r"(?: morning| afternoon| evening| night)"
AGO = rf"{_NUMBER} (?:hour|day|night|week|fortnight|month|year|decade)s? (?:ago|earlier|before|previously)"
FILM = (
    r"(?:(?:chest |portable |postoperative |baseline )*(?:film|study|radiograph|x-?ray|x ray|cxr|ct|hrct|mri"
    r"|examination|exam|image|imaging|scan|view|report)s?)"
)
_DATE = (
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{MONTH}(?: {_YEAR})?|{MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? {_YEAR})?"
    rf"|\d{{1,2}}[/.]\d{{1,2}}(?:[/.]\d{{2,4}})?|{MONTH}(?: {_YEAR})?|{_YEAR}|(?:last )?{DAY}{_PART}?|yesterday"
    rf"|{_CLOCK}|{AGO}|last (?:night|week|month|year))"
)
# that tells which earlier study is meant
_WHICH = (
    rf"(?:prior|previous|earlier|last|old|older|outside|initial|first|baseline|admission|recent|most recent|comparison"
    rf"|preceding|preoperative|postoperative|trauma|referral|{MONTH}|{_YEAR}|{DAY}(?:'s)?{_PART}?|yesterday(?:'s)?"
    rf"|{_CLOCK}|last (?:night|week|month|year)'s)"
)
EARLIER_FILM = (
    rf"(?:(?:the |any |her |his |a |an |both |all )?(?:{_WHICH} )+{FILM}(?: (?:of|from|dated|taken|at|on) {_DATE})?"
    rf"|(?:the |a )?{FILM} (?:of|from|dated|taken at|taken on|done|obtained) (?:the )?{_DATE}"
    rf"|(?:the |a )?{FILM} (?:from|at) (?:an? |the )?(?:other|another|outside|referring) hospital)"
)
# behind what was, or was not, there
THEN = (
    rf"(?:(?:on|in|at|by) {EARLIER_FILM}|(?:on|in|at|by|as of) (?:the )?(?:{_DATE}|weekend|admission|presentation)"
    rf"|{AGO}|yesterday{_PART}?|last (?:night|week|month|year|time)|this morning|earlier(?: today)?|previously|formerly"
    r"|then|before(?: (?:surgery|the (?:procedure|operation|drain|biopsy|admission)|admission|intubation|treatment))?)"
)
# what is, or was not, there
PRESENT = (
    r"(?:present|seen|visible|evident|identified|noted|there|apparent|found|appreciated|demonstrated|shown|visualized"
    r"|visualised|detected|recognized|recognised|mentioned|described|reported|depicted)"
)
