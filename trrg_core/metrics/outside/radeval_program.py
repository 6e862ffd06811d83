"""A program for an environment that has RadEval: one of its metrics over the pairs of a JSON file.

`python radeval_program.py FLAG PAIRS SCORES`. It imports nothing of TRRG, because TRRG is not installed there. Options
of RadEval are in `KNOWN`; its details of single reports differ from version to version, so only totals are written.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Read the pairs, score them, and write every number that RadEval gives."""
    flag, source, target = sys.argv[1:4]
    from RadEval import RadEval  # type: ignore[import-not-found]

    pairs = json.loads(Path(source).read_text("utf-8"))["pairs"]
    evaluator = RadEval(**{flag: True})
    results = evaluator(refs=[pair["reference"] for pair in pairs], hyps=[pair["hypothesis"] for pair in pairs])
    scores = {
        str(name): {"value": float(value)}
        for name, value in results.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    Path(target).write_text(json.dumps({"scores": scores}), "utf-8")


if __name__ == "__main__":
    main()
