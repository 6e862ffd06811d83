"""Findings and devices that lie in the middle of the chest, or are of both sides."""

MIDLINE = frozenset(
    (
        *("cardiomegaly", "enlarged_cardiomediastinum", "mediastinal_shift", "mediastinal_mass", "pneumomediastinum"),
        *("pericardial_effusion", "aortic_tortuosity", "aortic_calcification", "aortic_aneurysm", "heart_failure"),
        *("scoliosis", "kyphosis", "pneumoperitoneum", "hernia", "sternal_wires", "fluid_overload", "osteopenia"),
        *("endotracheal_tube", "tracheostomy", "enteric_tube"),
    )
)
