"""The test that a mention is a current fact: it is stated of this patient, at the time of the study.

Defined once, over the three fields of a mention that decide it. Values, dict rows and table columns all use it.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter

# field of a mention -> the value it has in a current fact
CURRENT_FACT: Mapping[str, bool | str] = {"historical": False, "hypothetical": False, "experiencer": "patient"}

_deciding_fields: Callable[[Mapping[str, object]], tuple[object, ...]] = itemgetter(*CURRENT_FACT)
_CURRENT = tuple(CURRENT_FACT.values())


def is_current_fact(mention: Mapping[str, object]) -> bool:
    """Whether a mention, as a mapping of its fields, states a fact of this patient at the time of the study."""
    return _deciding_fields(mention) == _CURRENT
