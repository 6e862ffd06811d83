"""The champion beside a model in its report page: what it wrote for the same studies, and the slices with a gain.

The page is rendered when a model is scored; which champion it is compared with is known later, at the gate. What is
shown of the champion then takes the place of comments.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trrg_core.metrics.study_slices import SliceScores
from trrg_core.pages.report_page import StudyPage
from trrg_core.pages.study_view import view_study
from trrg_core.pages.template import template_environment

# written by our own templates only, ids in hexadecimal digits: report text is escaped and cannot contain them
_STUDY = re.compile(r"<!-- champion of ([0-9a-f]*) -->")
_SLICES = re.compile(r"<!-- slices -->.*?<!-- end of slices -->", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ChampionBeside:
    """A champion: its address, its reports by study, and the slices with both systems.

    `hypotheses` are the model's texts by study, to say where both wrote the same.
    """

    model: str
    reports: Mapping[str, StudyPage] = field(default_factory=dict)
    hypotheses: Mapping[str, str] = field(default_factory=dict)
    slices: tuple[SliceScores, ...] = ()


def studies_in(page: str) -> list[str]:
    """The ids of the studies that a rendered page shows, in its order."""
    return [bytes.fromhex(digits).decode() for digits in _STUDY.findall(page)]


def insert_champion(page: str, champion: ChampionBeside) -> str:
    """A rendered report page with the champion beside the model; unchanged where it has no place for it."""
    environment = template_environment()
    report, slices = environment.get_template("champion.html"), environment.get_template("slices.html")

    def insert(found: re.Match[str]) -> str:
        study_id = bytes.fromhex(found[1]).decode()
        study = champion.reports.get(study_id)
        if study is None:
            return found[0]
        is_same = study.hypothesis_text == champion.hypotheses.get(study_id)
        return report.render(model=champion.model, lines=view_study(study).hypothesis, is_same=is_same)

    page = _STUDY.sub(insert, page)
    if not champion.slices:
        return page
    section = slices.render(slices=champion.slices, champion=champion.model)
    return _SLICES.sub(lambda _: section, page, count=1)
