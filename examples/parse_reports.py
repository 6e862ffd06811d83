"""Parse report texts: print every mention with its assertion and the cue that decided, then the labels.

python examples/parse_reports.py report1.txt report2.txt
python examples/parse_reports.py --text "Heart size is normal. No pleural effusion. Possible left basilar pneumonia."

Needs neither torch nor a cluster.
"""

import argparse
from pathlib import Path

from trrg_core.labels import Label
from trrg_core.report.parser import ReportParser


def main() -> None:
    """Parse what the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="*", type=Path, help="text files, one report each")
    arguments.add_argument("--text", action="append", default=[], help="the text of a report")
    arguments.add_argument("--label-set", default="chexpert14", help="chexpert14, nih14 or a YAML file")
    given = arguments.parse_args()
    texts = {str(path): path.read_text("utf-8") for path in given.files}
    texts |= {f"text {number}": text for number, text in enumerate(given.text, start=1)}
    # building the parser compiles the rules: build it once, then parse many reports
    parser = ReportParser(given.label_set)
    for name, report in zip(texts, parser.parse_many(list(texts.values())), strict=True):
        print(f"{name} (parser {report.parser_id})")
        for sentence in report.sentences:
            print(f"  [{sentence.section}] {sentence.text}")
            for mention in sentence.mentions:
                print(
                    f"      {mention.assertion:9} {mention.finding} {mention.laterality}".rstrip(), _reason(mention.cue)
                )
        labels = {name: Label(label).name for name, label in report.labels.items() if label is not None}
        print("  labels:", ", ".join(f"{name} {label}" for name, label in labels.items()) or "none")


def _reason(cue: str) -> str:
    return f'(cue "{cue}")' if cue else ""


if __name__ == "__main__":
    main()
