"""Read your own export into a store and parse its reports: `studies`, then `reports`, with what could not be used.

python examples/ingest_your_export.py --settings export.yaml --store ./trrg-store

`export.yaml` names the columns of your table; the tutorial of the documentation explains each line.
"""

import argparse
from collections import Counter

from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.storage.store import open_store
from trrg_core.tables.delta import read_table
from trrg_core.tables.rejects import read_rejects
from trrg_core.tables.table_ref import TableRef


def main() -> None:
    """Run the first two jobs on what the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--settings", required=True, help="YAML file of settings")
    arguments.add_argument("--store", default="./trrg-store", help="folder or s3:// prefix of the results")
    given = arguments.parse_args()
    config = load_config(given.settings)
    studies = run_job("ingest", config, given.store, {})
    reports = run_job("parse", config, given.store, {"studies": studies.ref})
    store = open_store(given.store)
    splits = read_table(store, TableRef.parse(studies.ref), columns=["split"])["split"].to_pylist()
    print(f"{studies.ref}: {len(splits)} studies,", ", ".join(f"{n} {split}" for split, n in Counter(splits).items()))
    reasons = Counter(row["reason"] for row in read_rejects(store).to_pylist())
    print("rejects:", ", ".join(f"{n} {reason}" for reason, n in reasons.items()) or "none")
    rows = read_table(store, TableRef.parse(reports.ref), columns=["labels"]).to_pylist()
    positive = Counter(name for row in rows for name, label in row["labels"].items() if label == 1)
    print(f"{reports.ref}: positive labels")
    for name, count in positive.most_common():
        print(f"  {count:5} {name}")


if __name__ == "__main__":
    main()
