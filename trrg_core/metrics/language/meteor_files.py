"""What METEOR reads before it aligns: the paraphrases and synonyms that a corpus can use, in a folder."""

from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trrg_core.metrics.language.paraphrases import word_pieces, write_paraphrases
from trrg_core.metrics.language.synonyms import write_synonyms

# what the PTB tokenizer makes of words that it cuts ("cannot", "isn't", "gonna") and of brackets
_TOKENIZER_PIECES = frozenset(
    b"ai are ca can could d did do does gim gon got had has have is lcb lem ll lrb lsb m me might must n na need not "
    b"rcb re rrb rsb s sha should t ta ve wan was were wo would".split()
)


@dataclass(frozen=True)
class MeteorFiles:
    """The files of one folder."""

    folder: Path

    @property
    def paraphrases(self) -> Path:
        """The table of paraphrases, a gzip file."""
        return self.folder / "paraphrases.gz"

    @property
    def synonyms(self) -> Path:
        """The folder of synonyms."""
        return self.folder / "synonyms"


class MeteorDictionaries:
    """Files for METEOR in a folder. Cutting begins at once, in a thread, for the words of `texts`.

    Args:
        folder: where the files are written.
        texts: reports as they are, before any tokenisation.
    """

    def __init__(self, folder: Path, texts: Iterable[str]) -> None:
        self._folder = folder
        self._pieces = word_pieces(texts) | _TOKENIZER_PIECES
        self._pool = ThreadPoolExecutor(1)
        self._first = self._pool.submit(_write, self._pieces, folder / "first")

    def files_for(self, texts: Iterable[str]) -> MeteorFiles:
        """Files that have every entry that tokenised `texts` can use.

        Raises:
            OSError: if a file cannot be read or written.
        """
        pieces = word_pieces(texts)
        first = self._first.result()
        if pieces <= self._pieces:
            return first
        # a tokenizer may write other words that the texts have not: "&amp;", other spellings
        return _write(pieces, self._folder / "second")

    def close(self) -> None:
        """Wait for the thread."""
        self._pool.shutdown()


def _write(pieces: Set[bytes], folder: Path) -> MeteorFiles:
    files = MeteorFiles(folder)
    files.synonyms.mkdir(parents=True)
    write_synonyms({piece.decode() for piece in pieces}, files.synonyms)
    write_paraphrases(set(pieces), files.paraphrases)
    return files
