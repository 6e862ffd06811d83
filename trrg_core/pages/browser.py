"""The studies of a version as one self-contained page to browse: image, marked report, labels, filters. No server.

As safe as the report page: every text escaped, no network, and a Content-Security-Policy that names the hashes of the
one style sheet and the one script. It includes report text and radiographs: keep it where the data is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from trrg_core.labels import Label, Labels, column_name
from trrg_core.pages.film_view import FilmsView, view_films
from trrg_core.pages.marked_text import Piece, cut_at_mentions, describe_mention
from trrg_core.pages.shown_film import Film
from trrg_core.pages.template import hash_source, read_part, template_environment
from trrg_core.report.parsed import Mention, Sentence
from trrg_core.study import SPLITS

WORDS: Mapping[Label, str] = {Label.POSITIVE: "present", Label.UNCERTAIN: "uncertain", Label.NEGATIVE: "absent"}


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """One study: its radiographs, report and labels; `sentences` are the parsed ones, none without a parse.

    `repeats` is how often a slice contains the study; 1 without a slice.
    """

    study_id: str
    subject_id: str
    split: str
    films: tuple[Film, ...]
    report: str
    sentences: tuple[Sentence, ...] = ()
    labels: Labels = field(default_factory=dict)
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class BrowserPage:
    """The whole page. `num_matching` studies match the query, `cards` are those shown."""

    title: str
    cards: tuple[StudyCard, ...]
    num_matching: int
    observations: tuple[str, ...] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CardView:
    """A card as the template prints it: labels as (observation, word)."""

    card: StudyCard
    films: FilmsView
    pieces: tuple[Piece, ...]
    labels: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> str:
        """The labels in the form of the page's filter: `pleural_effusion:absent`."""
        return " ".join(f"{column_name(name)}:{word}" for name, word in self.labels)


def render_browser(page: BrowserPage) -> str:
    """`page` as HTML."""
    style = read_part("page.css") + read_part("browser.css")
    script = read_part("film_script.html") + read_part("browser_script.html")
    return (
        template_environment()
        .get_template("browser.html")
        .render(
            page=page,
            views=[view_card(card) for card in page.cards],
            splits=[split for split in SPLITS if any(card.split == split for card in page.cards)],
            says=list(WORDS.values()),
            style=Markup(style),  # our own files, not data
            script=Markup(script),
            style_hash=hash_source(style),
            script_hash=hash_source(script),
        )
    )


def view_card(card: StudyCard) -> CardView:
    """A card as the template prints it: the report split at its mentions, images as data."""
    mentions = [mention for sentence in card.sentences for mention in sentence.mentions]
    stated = sorted(
        ((name, WORDS[label]) for name, label in card.labels.items() if label is not None),
        key=lambda item: list(WORDS.values()).index(item[1]),
    )
    return CardView(
        card=card,
        films=view_films(card.films),
        pieces=cut_at_mentions(card.report, mentions, _note),
        labels=tuple(stated),
    )


def _note(mention: Mention) -> str:
    words = describe_mention(mention)
    words += [f"of {mention.experiencer}"] if mention.experiencer != "patient" else []
    words += ["hypothetical"] if mention.hypothetical else []
    return f"{', '.join(words)}; rule {mention.rule}" + (f", cue {mention.cue}" if mention.cue else "")
