"""Invented labels of the size of MIMIC-CXR for benchmarks: ids, labels and sentence counts, without text or images."""

from typing import Any

import numpy as np
import pyarrow as pa

from trrg_core.label_stats.label_table import IN_REPORT, LabelTable, ordered
from trrg_core.labels import column_name
from trrg_core.tables.arrow_numpy import to_arrow

STUDIES, PATIENTS = 227_835, 65_379
# share of positive, negative, uncertain: rounded from those published for MIMIC-CXR-JPG (arXiv 1901.07042)
PREVALENCE = {
    "Atelectasis": (0.20, 0.01, 0.045),
    "Cardiomegaly": (0.20, 0.07, 0.025),
    "Consolidation": (0.05, 0.035, 0.02),
    "Edema": (0.12, 0.11, 0.06),
    "Enlarged Cardiomediastinum": (0.03, 0.025, 0.04),
    "Fracture": (0.02, 0.005, 0.0025),
    "Lung Lesion": (0.03, 0.005, 0.005),
    "Lung Opacity": (0.225, 0.015, 0.015),
    "No Finding": (0.33, 0.0, 0.0),
    "Pleural Effusion": (0.24, 0.12, 0.025),
    "Pleural Other": (0.01, 0.0005, 0.0035),
    "Pneumonia": (0.07, 0.11, 0.08),
    "Pneumothorax": (0.045, 0.185, 0.005),
    "Support Devices": (0.29, 0.015, 0.001),
}
OBSERVATIONS = tuple(PREVALENCE)


def invent_labels(studies: int = STUDIES, patients: int = PATIENTS, seed: int = 0) -> LabelTable:
    """A label table of `studies` studies, unevenly distributed over patients; 2.5 % of patients are not in train."""
    rng = np.random.default_rng(seed)
    popularity = rng.gamma(0.7, size=patients)
    patient = np.sort(rng.choice(patients, size=studies, p=popularity / popularity.sum()))
    split = rng.choice(["train", "validate", "test"], size=patients, p=[0.975, 0.01, 0.015])[patient]
    columns: dict[str, pa.Array[Any]] = {
        "subject_id": pa.array(np.char.add("p1", np.char.zfill(patient.astype(str), 7))),
        "study_id": pa.array(np.char.add("s5", np.char.zfill(rng.permutation(studies).astype(str), 7))),
        "split": pa.array(split),
        "has_prior": pa.array(rng.random(studies) < 0.6),
        "num_views": pa.array(np.ones(studies, np.int16)),
        "view_positions": pa.array(
            rng.choice(["AP", "LATERAL+PA", "PA", "LATERAL"], size=studies, p=[0.5, 0.35, 0.1, 0.05])
        ),
    }
    views = columns["view_positions"].to_numpy(zero_copy_only=False)
    columns["frontal"] = pa.array(np.where(views == "AP", "AP", np.where(views == "LATERAL", "none", "PA")))
    columns["num_words"] = pa.array(rng.poisson(50, studies).astype(np.int32))
    columns["num_sentences"] = pa.array(np.full(studies, 6, np.int32))
    denials = np.zeros((studies, 6), dtype=np.int64)
    for index, (name, shares) in enumerate(PREVALENCE.items()):
        stated = rng.choice(4, size=studies, p=[*shares, 1 - sum(shares)])
        label = np.array([1, 0, -1, 0], np.int8)[stated]
        columns[column_name(name)] = pa.array(label, mask=stated == 3)
        for at, kind in enumerate(("present", "absent", "uncertain")):
            counts = pa.array((stated == at).astype(np.int16))
            columns[f"{column_name(name)}_{kind}"] = columns[f"{column_name(name)}_{kind}{IN_REPORT}"] = counts
        denying = np.flatnonzero(stated == 1)
        # negations often share a sentence: "no effusion or pneumothorax"
        denials[denying, rng.integers(0, 2, len(denying))] |= 1 << index
    offsets = to_arrow(np.arange(0, 6 * studies + 1, 6, dtype=np.int32))
    columns["denials"] = pa.ListArray.from_arrays(offsets, to_arrow(denials.reshape(-1)))
    in_report = to_arrow(np.ones(6 * studies, dtype=np.uint8))
    columns["in_report"] = pa.ListArray.from_arrays(offsets, in_report)
    return ordered(LabelTable(rows=pa.table(columns), observations=OBSERVATIONS))
