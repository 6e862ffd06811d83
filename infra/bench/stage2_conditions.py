"""What a generator writes of each study under changed clues or images, as facts; for `infra.bench.stage2`.

A loaded generator and rows of `shards` in; one greedy draft of each study and its facts out, as arrays. N studies,
O observations.
"""

# ruff: noqa: N815 -- names carry their axes

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.clue_check import overrule
from trrg_core.generation.decoding import encode_studies, generate_reports
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import NOT_STATED, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT, load_label_set
from trrg_core.model.clues import CERTAIN_LOGIT, Clues, clues_of, give_clues
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.model.perception import Perceived
from trrg_core.report.facts import FactCodes, text_facts
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.fact_tensors import Facts

Row = dict[str, Any]
Codes = NDArray[np.int8]
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What N texts state: assertion codes, side bits and degrees `[N,O]`, and whether the text is that of `on`."""

    assertion_NO: Codes
    side_NO: Codes
    degree_NO: Codes

    @classmethod
    def of_codes(cls, codes: Sequence[FactCodes]) -> "StudyFacts":
        """The arrays of `codes`."""
        return cls(
            assertion_NO=np.array([one.assertions for one in codes], dtype=np.int8),
            side_NO=np.array([one.sides for one in codes], dtype=np.int8),
            degree_NO=np.array([one.degrees for one in codes], dtype=np.int8),
        )

    def first(self, count: int) -> "StudyFacts":
        """Those of the first texts."""
        assertion, side, degree = (part[:count] for part in self.parts)
        return StudyFacts(assertion_NO=assertion, side_NO=side, degree_NO=degree)

    def to_batch(self, at: int, size: int) -> Facts:
        """The facts of `size` studies from `at` on, as tensors; zones are left open."""
        parts = [torch.from_numpy(part[at : at + size].copy()) for part in self.parts]
        return Facts(parts[0], parts[1], parts[2], torch.zeros_like(parts[0]))

    @property
    def parts(self) -> tuple[Codes, Codes, Codes]:
        """The three arrays."""
        return self.assertion_NO, self.side_NO, self.degree_NO


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One clue of each study turned round: which finding (-1 for none), and what its clue states then."""

    index_N: NDArray[np.int64]
    facts: StudyFacts

    def first(self, count: int) -> "Turn":
        """Those of the first studies."""
        return Turn(index_N=self.index_N[:count], facts=self.facts.first(count))


class Writer:
    """Writes one greedy draft of each study, and reads what drafts state."""

    def __init__(self, loaded: LoadedGenerator, rows: Sequence[Row], *, decoding: GenerateConfig) -> None:
        self.loaded, self.rows, self.decoding = loaded, list(rows), decoding
        self.observations = loaded.observations
        self.sided = loaded.generator.perception.sided_O.tolist()
        self.parser = ReportParser(loaded.config.parse.label_set)
        self._batches = [
            collate_images(self.rows[at : at + _BATCH], observations=self.observations, config=loaded.config.pretrain)
            for at in range(0, len(self.rows), _BATCH)
        ]
        # every condition reads the same images
        self._features = [encode_studies(loaded.generator, batch) for batch in self._batches]
        self._perceived = [self._perceive(features) for features in self._features]

    def read(self, texts: Sequence[str]) -> StudyFacts:
        """The facts of `texts` by the project's parser."""
        parsed = self.parser.parse_many(texts)
        return StudyFacts.of_codes([stated_facts(one, self.observations, self.sided) for one in parsed])

    def clue_facts(self) -> StudyFacts:
        """What the clues alone state: findings from their thresholds on, likelier sides, the likeliest degree."""
        threshold = self.loaded.generator.perception.threshold_O
        parts: list[list[torch.Tensor]] = [[], [], []]
        for one in self._perceived:
            present = one.probability_BO >= threshold
            # a side is stated where it is likely by itself, and the likelier one in any case
            side_BO2 = one.side_probability_BO2
            states = (side_BO2 >= 0.5) | (side_BO2 == side_BO2.amax(-1, keepdim=True))
            bits = states[..., 0] * SIDE_LEFT + states[..., 1] * SIDE_RIGHT
            is_graded = one.degree_logit_BO3.abs().sum(-1) > 0
            parts[0].append(torch.where(present, STATED_PRESENT, STATED_ABSENT))
            parts[1].append(bits * (present & one.has_side_BO))
            parts[2].append((one.degree_logit_BO3.argmax(-1) + 1) * (present & is_graded))
        assertion, side, degree = (torch.cat(part).numpy().astype(np.int8) for part in parts)
        return StudyFacts(assertion_NO=assertion, side_NO=side, degree_NO=degree)

    def write(
        self,
        change: Callable[[Clues, int], Clues] | None = None,
        *,
        source: str = "on",
        image: Callable[[Batch], Batch] | None = None,
        decoding: GenerateConfig | None = None,
    ) -> list[str]:
        """The drafts; `change` edits the clues of the studies from a row number on, `image` the radiographs.

        Perception is made anew of edited radiographs.
        """
        texts: list[str] = []
        generator, decoding = self.loaded.generator, decoding or self.decoding
        encoded = zip(self._batches, self._features, self._perceived, strict=True)
        for number, (batch, features, perceived) in enumerate(encoded):
            if image is not None:
                batch = image(batch)
                features = encode_studies(generator, batch)
                perceived = self._perceive(features)
            clues = clues_of(perceived, batch, source=source)
            if change is not None:
                clues = change(clues, number * _BATCH)
            reports = generate_reports(
                generator, batch, decoding, clues=clues, features=features, label_set=self.parser.label_set
            )
            texts += [report.text for report in reports]
        return texts

    @torch.no_grad()
    def _perceive(self, features: ImageFeatures) -> Perceived:
        perceived: Perceived = self.loaded.generator.perception(features)
        return perceived

    def given(self, facts: StudyFacts) -> list[str]:
        """The drafts with every clue set to what `facts` state; what they do not state is absent."""

        def change(clues: Clues, at: int) -> Clues:
            return give_clues(clues, facts.to_batch(at, len(clues.logit_BK)), torch.ones_like(clues.given_BK))

        return self.write(change)

    def turned(self, turn: Turn, *, only_probability: bool = False, guided: bool = False) -> list[str]:
        """The drafts with one clue of each study turned; those without one are written as they are.

        `guided` decodes as where a person denies a finding.
        """

        def change(clues: Clues, at: int) -> Clues:
            size = len(clues.logit_BK)
            index = torch.from_numpy(turn.index_N[at : at + size])
            given = torch.arange(len(self.observations))[None] == index[:, None]
            facts = turn.facts.to_batch(at, size)
            if only_probability:
                sign = torch.where(facts.assertion_NO == STATED_PRESENT, 1.0, -1.0)
                return clues._replace(logit_BK=torch.where(given, sign * CERTAIN_LOGIT, clues.logit_BK))
            return give_clues(clues, facts, given)

        decoding = self.decoding.for_denied_findings() if guided else self.decoding
        return self.write(change, decoding=unchecked(decoding))

    def revised(self, drafts: Sequence[str], rewritten: Sequence[str], turn: Turn) -> list[str]:
        """Each draft with its statements of the turned finding replaced by those of the rewritten text.

        Where reports are checked, a denied finding that the rewritten text affirms is not mentioned.
        """
        reviser = ReportReviser(self.parser)
        texts = list(drafts)
        for study in np.flatnonzero(turn.index_N >= 0):
            at = turn.index_N[study]
            is_present = bool(turn.facts.assertion_NO[study, at] == STATED_PRESENT)
            given = [GivenClue(observation=self.observations[at], is_present=is_present)]
            if self.decoding.check_margin is None:
                texts[study] = reviser.revise(drafts[study], rewritten[study], given)
            else:
                texts[study] = overrule(drafts[study], rewritten[study], given, parser=self.parser, reviser=reviser)
        return texts


def unchecked(decoding: GenerateConfig) -> GenerateConfig:
    """`decoding` without the check of a report against its clues: what the LLM alone writes."""
    return decoding.model_copy(update={"check_margin": None})


def stated_facts(parsed: ParsedReport, observations: Sequence[str], sided: Sequence[bool]) -> FactCodes:
    """The codes of a parsed report, by its current mentions; those of "No Finding" by its label."""
    codes = text_facts(parsed, load_label_set("chexpert14"), observations, sided=sided)
    if "No Finding" not in observations:
        return codes
    at = observations.index("No Finding")
    normal = STATED_PRESENT if parsed.labels["No Finding"] is not None else STATED_ABSENT
    return codes._replace(assertions=(*codes.assertions[:at], normal, *codes.assertions[at + 1 :]))


def choose_turns(
    stated: StudyFacts,
    study_ids: Sequence[str],
    *,
    kind: str,
    sided: Sequence[bool],
    graded: Sequence[bool],
    skip: Sequence[int] = (),
) -> Turn:
    """One finding of each study, drawn by its id: `down` a stated one, `up` another one, `side` one on one stated side.

    An `up` turn gives a drawn side and degree where the finding has them.
    """
    num_studies, num_findings = stated.assertion_NO.shape
    index = np.full(num_studies, -1, dtype=np.int64)
    parts = [np.zeros((num_studies, num_findings), dtype=np.int8) for _ in range(3)]
    for study, study_id in enumerate(study_ids):
        rng = np.random.default_rng(zlib.crc32(f"{kind}/{study_id}".encode()))
        is_present = stated.assertion_NO[study] == STATED_PRESENT
        if kind == "down":
            pool = np.flatnonzero(is_present)
        elif kind == "up":
            pool = np.flatnonzero(np.isin(stated.assertion_NO[study], (NOT_STATED, STATED_ABSENT)))
        else:
            pool = np.flatnonzero(is_present & np.isin(stated.side_NO[study], (SIDE_LEFT, SIDE_RIGHT)))
        pool = np.array([at for at in pool if at not in skip], dtype=np.int64)
        if not len(pool):
            continue
        at = int(rng.choice(pool))
        index[study] = at
        parts[0][study, at] = STATED_ABSENT if kind == "down" else STATED_PRESENT
        if kind == "up":
            parts[1][study, at] = int(rng.integers(1, 3)) if sided[at] else 0
            parts[2][study, at] = int(rng.integers(1, 4)) if graded[at] else 0
        elif kind == "side":
            parts[1][study, at] = SIDE_LEFT + SIDE_RIGHT - stated.side_NO[study, at]
            parts[2][study, at] = stated.degree_NO[study, at]
    return Turn(index_N=index, facts=StudyFacts(assertion_NO=parts[0], side_NO=parts[1], degree_NO=parts[2]))


def other_study(batch: Batch) -> Batch:
    """The images of the next study."""
    return replace(
        batch,
        pixels_BVHW=batch.pixels_BVHW.roll(1, 0),
        view_ids_BV=batch.view_ids_BV.roll(1, 0),
        view_mask_BV=batch.view_mask_BV.roll(1, 0),
    )
