"""Disease perception: zero-shot detection of each finding by stage 1, without a trained classifier.

Image features in; a calibrated probability per finding out, from the softmax of the similarities with an ensemble of
affirming and one of denying prompts, and the visual vector of the affirming ones.
B studies, O observations, D joint size.
"""

# ruff: noqa: N802, N815 -- names carry their axes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.model.calibration import Calibration
from trrg_core.model.contrastive import ContrastiveModel, score_texts
from trrg_core.model.encoders import ImageFeatures
from trrg_core.training.batch import Batch
from trrg_core.training.prompts import Prompts, load_prompts
from trrg_core.training.tokenization import encode_texts, pad_ids


class Perceived(NamedTuple):
    """Raw zero-shot logits, calibrated logits, and each finding's visual vector."""

    score_BO: Tensor
    logit_BO: Tensor
    local_BOD: Tensor

    @property
    def probability_BO(self) -> Tensor:
        """Calibrated probability that the report affirms the finding."""
        return torch.sigmoid(self.logit_BO)


class DiseasePerception(nn.Module):
    """Prompt ensembles, embedded once, and their calibration; its state is buffers only, nothing is trained."""

    present_OD: Tensor
    absent_OD: Tensor
    scale: Tensor
    sharpness: Tensor
    temperature_O: Tensor
    offset_O: Tensor
    threshold_O: Tensor

    def __init__(self, observations: Sequence[str], *, joint_size: int) -> None:
        super().__init__()
        self.observations = tuple(observations)
        self.calibrations: tuple[Calibration, ...] = tuple(Calibration() for _ in observations)
        num_findings = len(self.observations)
        for name in ("present_OD", "absent_OD"):
            self.register_buffer(name, torch.zeros(num_findings, joint_size))
        for name in ("scale", "sharpness"):
            self.register_buffer(name, torch.ones(()))
        for name, value in (("temperature_O", 1.0), ("offset_O", 0.0), ("threshold_O", 0.5)):
            self.register_buffer(name, torch.full((num_findings,), value))

    def forward(self, features: ImageFeatures) -> Perceived:
        """The findings of each study; float32 in any number format of the model."""
        prompts = torch.cat((self.present_OD, self.absent_OD)).float()
        fit_SB, local_SBD = score_texts(prompts, features, sharpness=self.sharpness.float())
        present_OB, absent_OB = fit_SB.chunk(2)
        score_BO = (present_OB - absent_OB).T * self.scale.float()
        logit_BO = (score_BO - self.offset_O.float()) / self.temperature_O.float()
        return Perceived(score_BO, logit_BO, local_SBD[: len(self.observations)].transpose(0, 1))

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
        self.scale.copy_(contrastive.logit_scale)
        self.sharpness.copy_(contrastive.sharpness)
        contrastive.train(was_training)
        return self

    def set_calibrations(self, calibrations: Sequence[Calibration]) -> "DiseasePerception":
        """Use `calibrations`, one per observation; returns itself.

        Raises:
            ValueError: if their number is wrong.
        """
        if len(calibrations) != len(self.observations):
            raise ValueError(f"{len(calibrations)} calibrations for {len(self.observations)} observations")
        self.calibrations = tuple(calibrations)
        for buffer, name in (
            (self.temperature_O, "temperature"),
            (self.offset_O, "offset"),
            (self.threshold_O, "threshold"),
        ):
            buffer.copy_(torch.tensor([getattr(calibration, name) for calibration in calibrations]))
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
