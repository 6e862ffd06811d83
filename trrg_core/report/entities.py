"""A trained scispaCy model beside the rules: entities that the lexicon does not name, for recall.

Optional and heavy (spaCy pulls torch in), so it is imported only when a model is configured. The rules still decide
what is asserted of an entity; an entity whose words are those of a lexicon phrase in another order gets that finding.
"""

import hashlib
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError
from trrg_core.extras import require_package
from trrg_core.report.lexicon import Lexicon, phrases_by_words

UNLISTED = "unlisted_entity"


class EntityFinder:
    """Finds the entities of a sentence with a trained model, tokenised by scispaCy's own tokenizer.

    Raises:
        ConfigError: if the folder is missing, is not the one with `sha256`, or is not a spaCy model, or if spaCy is
            not installed.
    """

    def __init__(self, folder: str, sha256: str, lexicon: Lexicon) -> None:
        path = Path(folder)
        if not path.is_dir():
            raise ConfigError(f"spacy_model {folder!r} is not a folder")
        digest = folder_sha256(path)
        if digest != sha256:
            raise ConfigError(f"spacy_model {folder!r} has SHA-256 {digest}, expected {sha256 or 'one to be given'}")
        self.sha256 = digest
        self._model = _load(path)
        self._phrases = phrases_by_words(lexicon)

    def find(self, sentence: str) -> list[tuple[int, int, str]]:
        """(start, end, finding) of each entity; `unlisted_entity` when the lexicon has no such phrase."""
        return [
            (entity.start_char, entity.end_char, self._phrases.get(frozenset(entity.text.lower().split()), UNLISTED))
            for entity in self._model(sentence).ents
        ]


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the relative path and content of every file below `folder`, in order of path."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _load(path: Path) -> Any:
    require_package("scispacy", "spacy_model")
    import spacy
    from scispacy.custom_tokenizer import combined_rule_tokenizer

    try:
        model = spacy.load(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"spacy_model {str(path)!r} is not a spaCy model") from error
    model.tokenizer = combined_rule_tokenizer(model)
    return model
