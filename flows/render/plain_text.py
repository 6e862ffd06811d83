"""Text of reports and files as a terminal may print it: no escape sequence in it is obeyed, and no direction mark."""

import re

# controls without tab and newline, and the marks that show text in another order than it is stored in
_UNPRINTABLE = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def printable(text: str) -> str:
    """`text` with each such character written out, e.g. ESC as `\\\\x1b`."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_line(text: str) -> str:
    """`text` as `printable`, on one line: what stands in it could pass for a line of its own."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
