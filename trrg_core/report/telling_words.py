"""Words without which a step of the parser can change nothing, so that a sentence without them passes it by.

The automaton notes them in its one pass; a search for each of them would cost as much as the pass itself.
"""

LEFT, RIGHT, LONE_SIDE = 1 << 0, 1 << 1, 1 << 2
NO, NOT, NEITHER = 1 << 3, 1 << 4, 1 << 5
CLAUSE, STAND_IN, DEMONSTRATIVE = 1 << 6, 1 << 7, 1 << 8
FORMER, RELATIVE, CHOICE = 1 << 9, 1 << 10, 1 << 11
CONCESSION, ALL, JOINT, LUNG = 1 << 12, 1 << 13, 1 << 14, 1 << 15
PAST, WORDY, UP_DOWN = 1 << 16, 1 << 17, 1 << 18
LEFT_OUT, JOINT_VERB = 1 << 19, 1 << 20
# of a sentence that was not scanned
ANY_WORD = -1

_WORDS = {
    LEFT: ("left",),
    RIGHT: ("right",),
    LONE_SIDE: ("l", "r"),
    NO: ("no",),
    NOT: ("not", "none", "absent", "never"),
    NEITHER: ("neither", "none"),
    CLAUSE: ("that", "whether", "if", "to be"),
    STAND_IN: (
        *("it", "one", "ones", "them", "has", "have", "but", "former", "latter", ":"),
        *("persist", "persists", "persisted", "persisting", "persistent", "persistently", "persistence"),
    ),
    DEMONSTRATIVE: ("that", "those"),
    FORMER: ("former", "latter"),
    RELATIVE: ("ipsilateral", "contralateral", "same", "that", "opposite", "other", "there"),
    CHOICE: ("(",),
    CONCESSION: ("but", "though", "although", "yet"),
    ALL: ("all", "both", "each"),
    JOINT: ("or", "with", "where", "combination", "/"),
    LEFT_OUT: (
        *("none", "neither", "differential", "considerations", "possibilities", "possible causes", "explanations"),
        *("gone", "cleared", "resolved", "disappeared", "no longer", "previously", "and so", "but so"),
        *(
            f"{seen} {then}"
            for seen in ("seen", "noted", "present", "described", "identified", "visible")
            for then in ("after", "before", "following", "during", "since", "at the time of")
        ),
    ),
    JOINT_VERB: tuple(
        f"{joint} {verb}"
        for joint in ("and", "but", "and it", "but it", "and they", "but they")
        for verb in ("is", "are", "has become", "have become", "measures", "measure")
    ),
    UP_DOWN: ("up", "down"),
    LUNG: ("lung", "lungs"),
    PAST: (
        *("you", "we", "i", "he", "she", "they", "patient", "was", "were", "been", "now", "today", "last", "ago"),
        *("yesterday", "film", "previously", "formerly", "once", "initially", "originally", "earlier"),
    ),
}


def words_of(phrase: str) -> int:
    """The bits of `phrase`, 0 where it is no telling word."""
    return sum(bit for bit, phrases in _WORDS.items() if phrase in phrases)


def telling_words() -> set[str]:
    """All of them."""
    return {phrase for phrases in _WORDS.values() for phrase in phrases}
