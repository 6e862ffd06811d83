"""Disease perception: detection of each finding, its side and degree, by stage 1, without a classifier of its own.

Image features in; calibrated probabilities per finding, side and degree out, from the softmax of the similarities with
an ensemble of affirming and one of denying prompts, and the visual vector of the affirming ones. Whether this is
zero-shot depends on the training of stage 1 (`pretrain.prompt_supervision`).
B studies, N patches, O observations, D joint size.
"""

# ruff: noqa: N802, N815 -- names carry their axes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.imaging.usual_images import UsualImages
from trrg_core.labels import NUM_DEGREES
from trrg_core.model.calibration import Calibration, DegreeCalibration, SideCalibration
from trrg_core.model.contrastive import ContrastiveModel
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.operating_points import OperatingPoint
from trrg_core.model.similarity import score_texts
from trrg_core.training.batch import Batch
from trrg_core.training.prompts import Prompts, load_prompts
from trrg_core.training.tokenization import encode_texts, pad_ids

SIDES = ("left", "right")


class Perceived(NamedTuple):
    """Raw and calibrated logits of each finding, its sides and degrees, and each finding's visual vector.

    The last axis of the side tensors is the patient's left, then right. It counts only where `has_side_BO`: the finding
    has a side, and a view of the study may show it; elsewhere both are 0. The last axis of the degree tensors is
    slight, moderate, severe: a softmax over it is their probability, given that the finding is present; where the
    finding is not graded all are 0. The last axis of `place_BO3` is where on the frontal films the finding's prompt
    looks: the column from -1 (left edge of the image, the patient's right) to 1, the row from -1 (top) to 1, and 1; all
    are 0 without a frontal film.
    """

    score_BO: Tensor
    logit_BO: Tensor
    local_BOD: Tensor
    side_score_BO2: Tensor
    side_logit_BO2: Tensor
    has_side_BO: Tensor
    degree_score_BO3: Tensor
    degree_logit_BO3: Tensor
    place_BO3: Tensor

    @property
    def probability_BO(self) -> Tensor:
        """Calibrated probability that the report affirms the finding."""
        return torch.sigmoid(self.logit_BO)

    @property
    def side_probability_BO2(self) -> Tensor:
        """Calibrated probability that the report affirms the finding of each side."""
        return torch.sigmoid(self.side_logit_BO2)


class DiseasePerception(nn.Module):
    """Prompt ensembles, embedded once, and their calibration; its state is buffers only, nothing is trained."""

    present_OD: Tensor
    absent_OD: Tensor
    left_OD: Tensor
    right_OD: Tensor
    degree_3OD: Tensor
    sided_O: Tensor
    graded_O: Tensor
    scale: Tensor
    sharpness: Tensor
    temperature_O: Tensor
    offset_O: Tensor
    threshold_O: Tensor
    side_temperature_O2: Tensor
    side_offset_O2: Tensor
    degree_temperature_O: Tensor
    degree_offset_O3: Tensor

    def __init__(self, observations: Sequence[str], *, joint_size: int) -> None:
        super().__init__()
        self.observations = tuple(observations)
        self.calibrations: tuple[Calibration, ...] = tuple(Calibration() for _ in observations)
        self.side_calibrations: tuple[SideCalibration, ...] = tuple(SideCalibration() for _ in observations)
        self.degree_calibrations: tuple[DegreeCalibration, ...] = tuple(DegreeCalibration() for _ in observations)
        self.operating_points: tuple[OperatingPoint, ...] = ()  # none before it is calibrated on `validate`
        self.usual_images: UsualImages | None = None  # of the images it was trained on, as far as these are known
        num_findings = len(self.observations)
        for name in ("present_OD", "absent_OD", "left_OD", "right_OD"):
            self.register_buffer(name, torch.zeros(num_findings, joint_size))
        self.register_buffer("degree_3OD", torch.zeros(NUM_DEGREES, num_findings, joint_size))
        for name in ("scale", "sharpness"):
            self.register_buffer(name, torch.ones(()))
        for name, value in (("temperature_O", 1.0), ("offset_O", 0.0), ("threshold_O", 0.5)):
            self.register_buffer(name, torch.full((num_findings,), value))
        for name, value in (("side_temperature_O2", 1.0), ("side_offset_O2", 0.0)):
            self.register_buffer(name, torch.full((num_findings, len(SIDES)), value))
        self.register_buffer("degree_temperature_O", torch.ones(num_findings))
        self.register_buffer("degree_offset_O3", torch.zeros(num_findings, NUM_DEGREES))
        for name in ("sided_O", "graded_O"):
            self.register_buffer(name, torch.zeros(num_findings, dtype=torch.bool))

    def forward(self, features: ImageFeatures) -> Perceived:
        """The findings of each study; float32 in any number format of the model."""
        prompts_PD = torch.cat(
            (self.present_OD, self.absent_OD, self.left_OD, self.right_OD, self.degree_3OD.flatten(0, 1))
        ).float()
        fit_PB, local_PBD = score_texts(prompts_PD, features, sharpness=self.sharpness.float())
        present_OB, absent_OB, left_OB, right_OB, *degree_OB = (fit_PB * self.scale.float()).chunk(4 + NUM_DEGREES)
        score_BO = (present_OB - absent_OB).T
        logit_BO = (score_BO - self.offset_O.float()) / self.temperature_O.float()
        side_score_BO2 = torch.stack(((left_OB - absent_OB).T, (right_OB - absent_OB).T), dim=-1)
        side_logit_BO2 = (side_score_BO2 - self.side_offset_O2.float()) / self.side_temperature_O2.float()
        # in a lateral view left and right lie over each other
        has_side_BO = self.sided_O & features.frontal_BV.any(1, keepdim=True)
        side_score_BO2, side_logit_BO2 = (
            side.masked_fill(~has_side_BO[..., None], 0.0) for side in (side_score_BO2, side_logit_BO2)
        )
        # only differences between the degrees count
        degree_score_BO3 = torch.stack([(one_OB - absent_OB).T for one_OB in degree_OB], dim=-1)
        degree_score_BO3 = degree_score_BO3 * self.graded_O[:, None]
        degree_logit_BO3 = degree_score_BO3 / self.degree_temperature_O.float()[:, None] - self.degree_offset_O3.float()
        local_BOD = local_PBD[: len(self.observations)].transpose(0, 1)
        return Perceived(
            score_BO,
            logit_BO,
            local_BOD,
            side_score_BO2,
            side_logit_BO2,
            has_side_BO,
            degree_score_BO3,
            degree_logit_BO3 * self.graded_O[:, None],
            self._places(features),
        )

    def _places(self, features: ImageFeatures) -> Tensor:
        """The centre of each finding's heat on the frontal films, with 1 beside it; 0 without one."""
        rows, columns = features.grid_hw
        heat_BON = self.heat_map(features) * self.sharpness.float()
        is_frontal_BN = features.frontal_BV.repeat_interleave(rows * columns, dim=1)
        has_place_B = is_frontal_BN.any(1)
        allowed_BN = is_frontal_BN | ~has_place_B[:, None]
        weight_BON = heat_BON.masked_fill(~allowed_BN[:, None], float("-inf")).softmax(-1)
        across, down = (torch.linspace(-1, 1, count, device=heat_BON.device) for count in (columns, rows))
        grid_P3 = torch.stack(
            (across.repeat(rows), down.repeat_interleave(columns), torch.ones(rows * columns, device=heat_BON.device)),
            dim=-1,
        )
        place_BO3 = weight_BON @ grid_P3.repeat(features.frontal_BV.shape[1], 1)
        return place_BO3 * has_place_B[:, None, None].to(place_BO3.dtype)

    def heat_map(self, features: ImageFeatures) -> Tensor:
        """How well each patch agrees with each finding rather than with its denial, `[B,O,N]`, cosine differences.

        Patches of missing views are 0. It shows where the model looked, not where the finding is.
        """
        difference_OD = self.present_OD.float() - self.absent_OD.float()
        heat_BON = torch.einsum("od,bnd->bon", difference_OD, features.patches_BND.float())
        return heat_BON * features.patch_mask_BN[:, None].to(heat_BON.dtype)

    @torch.no_grad()
    def embed_prompts(
        self, contrastive: ContrastiveModel, tokenizer: Any, prompts: Sequence[Prompts] | None = None
    ) -> "DiseasePerception":
        """Take the prompt embeddings, scale and sharpness from `contrastive` (whole, not sharded); returns itself."""
        chosen = load_prompts(self.observations) if prompts is None else prompts
        was_training = contrastive.training
        contrastive.eval()
        self.present_OD.copy_(_embed(contrastive, tokenizer, [entry.present for entry in chosen]))
        self.absent_OD.copy_(_embed(contrastive, tokenizer, [entry.absent for entry in chosen]))
        sided = [entry for entry in chosen if entry.has_side]
        self.sided_O.copy_(torch.tensor([entry.has_side for entry in chosen]))
        if sided:
            self.left_OD[self.sided_O] = _embed(contrastive, tokenizer, [entry.left for entry in sided])
            self.right_OD[self.sided_O] = _embed(contrastive, tokenizer, [entry.right for entry in sided])
        graded = [entry for entry in chosen if entry.has_degree]
        self.graded_O.copy_(torch.tensor([entry.has_degree for entry in chosen]))
        for degree in range(NUM_DEGREES) if graded else ():
            texts = [entry.degrees[degree] for entry in graded]
            self.degree_3OD[degree, self.graded_O] = _embed(contrastive, tokenizer, texts)
        self.scale.copy_(contrastive.logit_scale)
        self.sharpness.copy_(contrastive.sharpness)
        contrastive.train(was_training)
        return self

    def set_calibrations(
        self,
        calibrations: Sequence[Calibration],
        sides: Sequence[SideCalibration] = (),
        degrees: Sequence[DegreeCalibration] = (),
    ) -> "DiseasePerception":
        """Use `calibrations`, one per observation, and those of their sides and degrees if given; returns itself.

        Raises:
            ValueError: if their number is wrong.
        """
        for given in (calibrations, sides or calibrations, degrees or calibrations):
            if len(given) != len(self.observations):
                raise ValueError(f"{len(given)} calibrations for {len(self.observations)} observations")
        self.calibrations = tuple(calibrations)
        for buffer, name in (
            (self.temperature_O, "temperature"),
            (self.offset_O, "offset"),
            (self.threshold_O, "threshold"),
        ):
            buffer.copy_(torch.tensor([getattr(calibration, name) for calibration in calibrations]))
        if sides:
            self.side_calibrations = tuple(sides)
            for buffer, name in ((self.side_temperature_O2, "temperature"), (self.side_offset_O2, "offset")):
                values = [[getattr(side, name) for side in (pair.left, pair.right)] for pair in sides]
                buffer.copy_(torch.tensor(values))
        if degrees:
            self.degree_calibrations = tuple(degrees)
            self.degree_temperature_O.copy_(torch.tensor([calibration.temperature for calibration in degrees]))
            self.degree_offset_O3.copy_(torch.tensor([calibration.offsets for calibration in degrees]))
        return self


def build_perception(contrastive: ContrastiveModel, tokenizer: Any, observations: Sequence[str]) -> DiseasePerception:
    """Uncalibrated perception of `observations` by `contrastive`, on its device.

    On the meta device, where nothing can be computed, the prompts are not embedded; shapes are right.
    """
    weight = contrastive.image.to_joint.weight
    perception = DiseasePerception(observations, joint_size=weight.shape[0]).to(weight.device)
    return perception if weight.is_meta else perception.embed_prompts(contrastive, tokenizer)


@torch.no_grad()
def perceive(contrastive: ContrastiveModel, perception: DiseasePerception, batch: Batch) -> Perceived:
    """The findings of a batch, without gradient or augmentation; the models must be in eval mode."""
    perceived: Perceived = perception(contrastive.encode_images(batch))
    return perceived


def _embed(contrastive: ContrastiveModel, tokenizer: Any, ensembles: Sequence[Sequence[str]]) -> Tensor:
    device = contrastive.image.to_joint.weight.device
    means = []
    for texts in ensembles:
        rows = encode_texts(tokenizer, texts, max_tokens=contrastive.config.max_sentence_tokens)
        ids, mask = pad_ids(rows, pad_id=tokenizer.pad_token_id)
        means.append(contrastive.text(ids.to(device), mask.to(device)).mean(0))
    return nn.functional.normalize(torch.stack(means), dim=-1)
