"""A re-slice from the shell starts fast: it imports nothing that takes longer than the slice itself."""

import subprocess
import sys
from pathlib import Path

from tests.core.toy_versions import LABEL_SET, NO, YES, write_chain
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.table_ref import TableRef

SPEC = """
name: {name}
where: "num_words > 0"
quotas: [{{observation: Edema, share: 0.5}}]
"""
COMMAND = """
import sys

sys.argv = ["trrg", "reslice", *sys.argv[1:]]
from flows.cli import main

try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {"torch", "spacy", "ray", "prefect", "mlflow", "pandas", "scipy", "matplotlib", "jinja2"}
heavy |= {"trrg_core.config.settings", "pyarrow.dataset"}
sys.exit(f"imports {sorted(heavy & set(sys.modules))}" if heavy & set(sys.modules) else 0)
"""


def test_a_re_slice_of_a_known_version_from_the_shell_imports_nothing_heavy(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    # no study of validate and test: their columns have no chunk
    write_chain(store, {"1": ("train", {"Edema": NO}), "3": ("train", {"Edema": YES})})
    load_label_table(store, TableRef.parse("shards@0"), LABEL_SET.observations)
    for name in ("first", "second"):  # the second is committed to an existing table
        spec = tmp_path / f"{name}.yaml"
        spec.write_text(SPEC.format(name=name))
        command = [sys.executable, "-c", COMMAND, str(spec), "--store", store.uri]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    assert [commit.ref.version for commit in history(store, "slices")] == [1, 0]
