"""The invented corpus: patients, radiographs and reports in the exact layout of MIMIC-CXR(-JPG).

(seed, number of studies) -> a tree that the MIMIC-CXR reader reads, and what is true of it beside the tree.
No real patient, image or sentence is in it.
"""

from trrg_core.sources.sample.layout import DraftStudy, SampleSummary, draft_sample, write_sample

__all__ = ["DraftStudy", "SampleSummary", "draft_sample", "write_sample"]
