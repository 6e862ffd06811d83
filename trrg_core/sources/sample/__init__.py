"""The invented corpus: patients, radiographs and reports in the exact layout of MIMIC-CXR and MIMIC-CXR-JPG.

(seed, number of studies) -> a tree for the MIMIC-CXR reader, and its ground truth in a separate file. It contains no
real patient, image or sentence.
"""

from trrg_core.sources.sample.layout import SampleStudy, SampleSummary, generate_studies, write_sample

__all__ = ["SampleStudy", "SampleSummary", "generate_studies", "write_sample"]
