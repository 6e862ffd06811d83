"""The whole chain by the command line, on small trees: with broken files, on S3, and on real reports."""

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

pytestmark = [pytest.mark.ray, pytest.mark.flow, pytest.mark.timeout(900)]

TRRG = Path(sys.executable).parent / "trrg"
# words of reports that may stand in tables and pages of reports alone
CANARIES = ("Zyxwolf", "Qarthene", "7364519")
SENTENCE = " Told to Zyxwolf by Dr. Qarthene, MRN 7364519.\n"
QUICK = (
    "ray.local_cpus=2",  # each CPU is one more process that imports torch
    "pretrain.epochs=1",
    "finetune.epochs=1",
    "generate.max_new_tokens=24",
    "evaluate.bootstrap_samples=20",
    "register.override=rehearsal",
)


def run_trrg(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TRRG), *words], capture_output=True, text=True, timeout=840, env={**os.environ, **environment}
    )


def run_chain(root: Path, store: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = [word for setting in QUICK for word in ("--set", setting)]
    return run_trrg("run", "--source-root", str(root), "--store", store, *settings, *more, **environment)


def shown(store: str, what: str = "", **environment: str) -> dict[str, Any]:
    done = run_trrg("show", *([what] if what else []), "--store", store, "--json", **environment)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def broken_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An invented corpus with one fault of each kind, each in a separate study."""
    root = tmp_path_factory.mktemp("trees") / "corpus"
    write_sample(root, num_studies=90, seed=5)
    reports = sorted(root.glob("files/*/*/s*.txt"))
    for report in reports[2:]:
        report.write_text(report.read_text() + SENTENCE)
    with_two = [report for report in reports if len(_images(report)) > 1]
    reports[0].write_text("")
    reports[1].write_bytes(b" FINAL REPORT\n FINDINGS:\n No caf\xe9 effusion.\n")
    truncated, missing = (
        _images(report)[0] for report in [report for report in with_two if report not in reports[:3]][:2]
    )
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    missing.unlink()
    _list_twice(root / "cxr-study-list.csv.gz", reports[2].stem.removeprefix("s"))
    return root


def _images(report: Path) -> list[Path]:
    return sorted(report.with_suffix("").glob("*.jpg"))


def _list_twice(index: Path, study_id: str) -> None:
    """Name a study a second time, with another report path."""
    with gzip.open(index, "rt", newline="") as stream:
        rows = list(csv.reader(stream))
    listed = next(row for row in rows if study_id in row)
    rows.append([*listed[:-1], "files/p10/p10000000/s00000000.txt"])
    with gzip.open(index, "wt", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture(scope="module")
def chain(broken_tree: Path, tmp_path_factory: pytest.TempPathFactory, prefect_home: str) -> str:
    """The store of a chain that ran over the broken tree."""
    store = str(tmp_path_factory.mktemp("chain") / "store")
    done = run_chain(broken_tree, store, PREFECT_HOME=prefect_home)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert "models:/trrg/1" in done.stdout
    Path(store).with_name("output").write_text(done.stdout + done.stderr)
    return store


def test_no_report_text_leaves_the_tables_and_the_pages_of_reports(chain: str, prefect_home: str) -> None:
    reports = read_table(open_store(chain), TableRef.parse("studies@0"), columns=["report"])["report"].to_pylist()
    assert sum("Zyxwolf" in report for report in reports) > 80
    files = [file for folder in (chain, prefect_home) for file in Path(folder).rglob("*") if file.is_file()]
    searched = [file for file in files if not file.is_relative_to(Path(chain) / "tables") and file.suffix != ".html"]
    (database,) = [file for file in searched if file.name == "prefect.db"]
    assert b"decision" in b"".join(file.read_bytes() for file in database.parent.glob("prefect.db*"))
    for file in (*searched, Path(chain).with_name("output")):
        data = file.read_bytes().lower()
        assert [word for word in CANARIES if word.lower().encode() in data] == [], file


def test_each_broken_study_is_rejected_with_its_reason(chain: str) -> None:
    reasons = shown(chain, "rejects")["rejects"]["ingest"]
    assert reasons["empty_report"] == 1
    assert reasons["report_not_utf8"] == 1
    assert reasons["jpeg_truncated"] == 1
    assert reasons["missing_image"] == 1
    assert reasons["duplicate_id"] >= 1


def test_every_study_of_the_source_is_in_the_shards_or_rejected(chain: str) -> None:
    store = open_store(chain)
    studies = set(read_table(store, TableRef.parse("studies@0"), columns=["study_id"])["study_id"].to_pylist())
    shards = set(read_table(store, TableRef.parse("shards@0"), columns=["study_id"])["study_id"].to_pylist())
    rejects = read_table(store, history(store, "rejects")[0].ref).to_pylist()
    aside = {job: {row["study_id"] for row in rejects if row["job"] == job} for job in ("ingest", "shard")}
    assert len(studies | aside["ingest"]) == 90
    assert studies - shards == aside["shard"]


def test_every_study_of_the_test_split_is_predicted_once(chain: str) -> None:
    store = open_store(chain)
    wanted = read_table(store, TableRef.parse("shards@0"), columns=["split", "study_id"], split="test")
    found = read_table(store, TableRef.parse("predictions@0"), columns=["study_id"])
    assert sorted(found["study_id"].to_pylist()) == sorted(wanted["study_id"].to_pylist())


def test_no_patient_is_in_two_splits(chain: str) -> None:
    rows = read_table(open_store(chain), TableRef.parse("studies@0"), columns=["subject_id", "split"]).to_pylist()
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_results_are_reused_in_seconds(chain: str, broken_tree: Path, prefect_home: str) -> None:
    start = time.monotonic()
    done = run_chain(broken_tree, chain, PREFECT_HOME=prefect_home)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("reused") >= 8
    assert len(shown(chain)["tables"]["studies"]) == 1
    assert time.monotonic() - start < 120


def test_no_report_text_reaches_the_log_or_the_registry(chain: str, broken_tree: Path, prefect_home: str) -> None:
    rows = read_table(open_store(chain), TableRef.parse("reports@0"), columns=["findings"])["findings"].to_pylist()
    sentences = {part.strip() for text in rows for part in text.split(".") if len(part) > 40}
    places = [
        *(path for path in Path(chain, "registry").rglob("*") if path.is_file()),
        *Path(prefect_home).rglob("*.db*"),
        *Path(chain).glob("runs/*/README.md"),
    ]
    assert sentences
    assert places
    for place in places:
        held = place.read_bytes().decode("utf-8", errors="replace")
        assert not any(sentence in held for sentence in sentences), place


@pytest.mark.slow
@pytest.mark.long
def test_an_ablation_trains_on_the_same_stage_1(chain: str) -> None:
    # all at once; each by itself is tested on the model, and measured by infra.bench.stage2
    off = ("finetune.clues=off", "finetune.interaction=off", "finetune.consistency=off")
    settings = [word for setting in (*QUICK, *off) for word in ("--set", setting)]
    done = run_trrg("finetune", "--store", chain, "--json", *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    # log lines of workers may come before and after it
    result = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"job"')))
    assert not result["reused"]
    assert sum(name.startswith("pretrain-") for name in shown(chain)["runs"]) == 1


@pytest.mark.slow
def test_the_same_chain_on_s3_under_zero_3(tmp_path: Path, prefect_home: str) -> None:
    from moto.server import ThreadedMotoServer

    root = tmp_path / "corpus"
    write_sample(root, num_studies=60, seed=6)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "PREFECT_HOME": prefect_home,
            "TORCHDYNAMO_DISABLE": "1",  # no Inductor for Muon, which DeepSpeed compiles under ZeRO
        }
        _make_bucket(environment)
        # with ZeRO-3, so that not only the toy model is sharded in a test
        done = run_chain(root, "s3://reports/trrg", "--set", "engine.zero_stage=3", **environment)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        found = shown("s3://reports/trrg", **environment)
        assert set(found["tables"]) >= {"studies", "reports", "shards", "predictions"}
        assert sum(name.startswith("register-") for name in found["runs"]) == 1
    finally:
        server.stop()


def _make_bucket(environment: dict[str, str]) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="reports")


@pytest.mark.slow
@pytest.mark.real_data
def test_real_reports_and_radiographs_go_through(real_data: Path, tmp_path: Path, prefect_home: str) -> None:
    store = str(tmp_path / "store")
    # in one process: the chain of the fixture trains on workers
    done = run_chain(real_data / "mimic_like", store, "--set", "engine.local=true", PREFECT_HOME=prefect_home)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    reports = read_table(open_store(store), TableRef.parse("reports@0"), columns=["study_id", "sections"])
    assert reports.num_rows == 150
    assert "models:/trrg/1" in done.stdout
