"""The folders of a store, relative to `--store`."""

TABLE_FOLDER = "tables"  # Delta tables, one folder per table
RUN_FOLDER = "runs"  # one folder per run: checkpoints, model, scores, result
FLOW_FOLDER = "flows"  # what each run of a flow did
JOB_FOLDER = "jobs"  # tasks and outcomes of Ray Jobs
REGISTRY_FOLDER = "registry"  # the SQLite model registry
REGISTRY_DATABASE = f"{REGISTRY_FOLDER}/mlflow.db"
LABEL_TABLE_FOLDER = "label_tables"  # copies of label tables; may be deleted at any time
WITHDRAWAL_RECORD = "withdrawals.json"  # keyed hashes of withdrawn patients
WITHDRAWAL_LOCK = "withdrawals.lock"  # held by a withdrawal, and by other work while it commits
