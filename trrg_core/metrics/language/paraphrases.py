"""The part of METEOR's paraphrase table that a corpus can use.

The table has five million entries, of which a corpus of reports uses a fortieth; reading all takes METEOR six seconds
of CPU time and most of its memory. An entry is kept if every word of it occurs somewhere, so that no score changes.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trrg_core.metrics.java import package_file

_TABLE = "data/paraphrase-en.gz"
_LINES_PER_ENTRY = 3  # probability, phrase, paraphrase
_BLOCK = 1 << 18  # bytes, of the compressed file
# METEOR's normaliser splits at what is no letter or digit, and never inside such a run
_PIECE = re.compile(r"[^\W_]+")
_ASCII_PIECE = re.compile(rb"[0-9A-Za-z]+")


def word_pieces(texts: Iterable[str]) -> set[bytes]:
    """The runs of letters and digits of texts, in lower case: what the words of any tokenisation consist of."""
    # one word at a time, because most words of a corpus repeat
    words = {word for text in texts for word in text.lower().split()}
    pieces = {piece.encode() for word in words for piece in _PIECE.findall(word)}
    # METEOR knows few letters beside ASCII's, and cuts at others: "5\u00b5m" has the word "5"
    return pieces | {part for piece in pieces if not piece.isascii() for part in _ASCII_PIECE.findall(piece)}


def write_paraphrases(pieces: set[bytes], path: Path) -> int:
    """Write the entries whose words all consist of `pieces` as a table for METEOR; returns their number.

    Raises:
        OSError: if a file cannot be read or written.
    """
    num_entries = 0
    with gzip.open(path, "wb", compresslevel=1) as target:
        for entries in _usable(pieces):
            target.write(b"".join(line + b"\n" for line in entries))
            num_entries += len(entries) // _LINES_PER_ENTRY
    return num_entries


def _usable(pieces: set[bytes]) -> Iterator[list[bytes]]:
    for lines in _read_blocks(package_file("pycocoevalcap.meteor", _TABLE)):
        kept: list[bytes] = []
        # entries are in the order of their phrase: of most, only the first is looked at
        last, is_usable = b"", False
        for place in range(1, len(lines), _LINES_PER_ENTRY):
            phrase = lines[place]
            if phrase != last:
                last, is_usable = phrase, _is_made_of(phrase, pieces)
            if is_usable and _is_made_of(lines[place + 1], pieces):
                kept += lines[place - 1 : place + 2]
        yield kept


def _is_made_of(phrase: bytes, pieces: set[bytes]) -> bool:
    for word in phrase.split(b" "):  # most phrases end the loop at once
        if word not in pieces and (word.isalnum() or not _pieces_are_known(word, pieces)):
            return False
    return True


def _pieces_are_known(word: bytes, pieces: set[bytes]) -> bool:
    # a word with other letters than ASCII's is kept: to lower case them is the normaliser's business
    return not word.isascii() or pieces.issuperset(_ASCII_PIECE.findall(word))


def _read_blocks(path: Path) -> Iterator[list[bytes]]:
    """The lines of whole entries, a block at a time; the table has 270 MB."""
    rest = b""
    for text in _one_ahead(_decompress(path)):
        lines = (rest + text).split(b"\n")
        whole = (len(lines) - 1) // _LINES_PER_ENTRY * _LINES_PER_ENTRY
        rest = b"\n".join(lines[whole:])
        yield lines[:whole]


def _decompress(path: Path) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=31)
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            yield stream.decompress(block)


def _one_ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, of which a thread makes the next one meanwhile: decompression does not hold the interpreter."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, blocks, None)
            yield block
