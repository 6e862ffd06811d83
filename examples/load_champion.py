"""Load the champion of a store and write a report for one radiograph, with the support of each sentence.

python examples/load_champion.py --store demo/store --view PA film.jpg

Research software, not for clinical use.
"""

import argparse
from pathlib import Path

from pipelines.registry.mlflow_store import registry
from trrg_core.config.load import load_config
from trrg_core.evidence import gather_evidence
from trrg_core.generation.decoding import write_reports
from trrg_core.labels import load_label_set
from trrg_core.model.model_folder import load_model_folder
from trrg_core.report.parser import ReportParser
from trrg_core.runs.stored_model import fetched_model
from trrg_core.storage.store import open_store
from trrg_core.training.collate import collate_images


def main() -> None:
    """Write the report of the film that the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("film", type=Path, help="JPEG of a frontal or lateral chest radiograph")
    arguments.add_argument("--view", default="PA", help="PA, AP, LATERAL or LL")
    arguments.add_argument("--store", default="./trrg-store", help="folder or s3:// prefix of the results")
    arguments.add_argument("--alias", default="champion", help="champion or challenger")
    given = arguments.parse_args()
    store, settings = open_store(given.store), load_config("tiny").register_
    with registry(store, settings) as client:
        version = client.get_model_version_by_alias(settings.model_name, given.alias)
    # the tag names the training run; its model folder also loads by itself, without MLflow
    with fetched_model(store, version.tags["trrg.generator"]) as folder:
        loaded = load_model_folder(folder, merge_adapter=True)
    print(f"models:/{version.name}/{version.version} ({given.alias}), run {version.tags['trrg.generator']}")
    row = {"study_id": given.film.stem, "views": [{"view_position": given.view, "jpeg": given.film.read_bytes()}]}
    batch = collate_images([row], observations=loaded.observations, config=loaded.config.pretrain)
    (report,) = write_reports(loaded, batch, loaded.config.generate)
    label_set = load_label_set(loaded.config.parse.label_set)
    evidence = gather_evidence(
        ReportParser(label_set.name).parse(report.text), clues=report.clues, label_set=label_set, has_prior=None
    )
    for sentence in evidence.sentences:
        print(f"{sentence.status:13} {report.text[sentence.start : sentence.end]}")
    for clue in evidence.omitted:
        print(f"{'OMITTED':13} {clue.observation}: clue {clue.probability:.2f}, threshold {clue.threshold:.2f}")


if __name__ == "__main__":
    main()
