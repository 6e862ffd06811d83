"""The outside metrics that TRRG knows: what each needs, and under which names its scores come.

None of them is a dependency: their packages exclude each other's versions, and all need weights from elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class KnownMetric:
    """A metric of others.

    Args:
        needs: what must be installed and downloaded, in one line.
        flag: the option of RadEval that computes it; empty where RadEval does not.
        is_judge: whether a language model judges the texts, which may run behind an endpoint.
        lower_is_better: whether a smaller score is better.
    """

    needs: str
    flag: str = ""
    is_judge: bool = False
    lower_is_better: bool = False


KNOWN: Mapping[str, KnownMetric] = MappingProxyType(
    {
        "chexbert": KnownMetric(needs="the package RadEval and the weights of CheXbert", flag="do_chexbert"),
        "radgraph": KnownMetric(needs="the package RadEval and the weights of RadGraph", flag="do_radgraph"),
        "ratescore": KnownMetric(needs="the package RadEval and the weights of RaTEScore", flag="do_ratescore"),
        "green": KnownMetric(
            needs="the package RadEval, the weights of GREEN (7B, about 14 GB) and a GPU",
            flag="do_green",
            is_judge=True,
        ),
        "bertscore": KnownMetric(needs="the package RadEval and the weights of its BERT", flag="do_bertscore"),
        "radcliq": KnownMetric(
            needs="the package RadEval and the weights of RadGraph, CheXbert and BERTScore",
            flag="do_radcliq",
            lower_is_better=True,
        ),
        "crimson": KnownMetric(
            needs="the package crimson-score (Python 3.12, numpy 2) and a local judge, by default MedGemma 4B",
            is_judge=True,
        ),
    }
)
