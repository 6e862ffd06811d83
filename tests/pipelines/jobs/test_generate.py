"""One task of the job `generate`: every row once, in order, whatever order its reports end in."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.jobs import generate
from pipelines.jobs.generate import GenerateSettings, TrainFilms, columns_read, generate_batch
from pipelines.ray_data.loaded_model import ModelSource
from tests.core.toy_corpus import toy_rows
from tests.core.toy_model import write_toy_model
from tests.core.toy_versions import shard_row, write_version
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.decoding import write_reports
from trrg_core.generation.film_space import fit_film_space, read_film
from trrg_core.labels import load_label_set
from trrg_core.model.model_folder import load_model_folder
from trrg_core.storage.store import open_store
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model_folder(write_toy_model(tmp_path_factory.mktemp("toy") / "model"), merge_adapter=True)


def test_rows_are_written_once_and_in_order(loaded, tmp_path, monkeypatch) -> None:
    rows = [{**row, "has_prior": None} for row in toy_rows(7)]
    calls = []
    encode = loaded.generator.contrastive.encode_images
    monkeypatch.setattr(
        loaded.generator.contrastive, "encode_images", lambda batch, **more: calls.append(1) or encode(batch, **more)
    )
    monkeypatch.setattr(generate, "load_model", lambda source: loaded)
    monkeypatch.setattr(generate, "IMAGES_AT_ONCE", 3)
    monkeypatch.setattr(generate.ray, "get", lambda train: train)
    films = np.stack([read_film(row["views"]) for row in rows])
    space = fit_film_space(np.stack([read_film(row["views"]) for row in toy_rows(60)]))
    config = GenerateConfig(batch_size=2, candidates=3, guidance=0.5, max_new_tokens=12)
    settings = GenerateSettings(
        model=ModelSource(store=open_store(str(tmp_path)), run_id="run", device="cpu"),
        config=config,
        train=TrainFilms(
            study_ids=("far", *(row["study_id"] for row in rows)),
            space=space,
            vectors=np.vstack((-space.place(films[:1]), space.place(films))),
        ),
    )
    table = pa.Table.from_pylist([{name: row[name] for name in generate.COLUMNS} for row in rows])
    found = generate_batch(table, settings).rows.to_pylist()
    assert len(calls) == 3  # groups of images, each encoded once
    expected = write_reports(loaded, generate._images(rows, loaded), config)
    assert [(row["study_id"], row["hypothesis"]) for row in found] == [(one.study_id, one.text) for one in expected]
    assert [row["neighbour_study_id"] for row in found] == [row["study_id"] for row in rows]


def test_what_is_known_of_a_study_is_read_where_the_shards_have_it(tmp_path) -> None:
    store, schema = open_store(str(tmp_path)), shards_schema(load_label_set("chexpert14"))
    rows = [{**shard_row("s1", {}, "test"), "indication": "Cough.", "prior_report": "Clear."}]
    write_version(store, "shards", rows, schema, fingerprint="with")
    older = pa.schema([field for field in schema if field.name not in ("indication", "prior_report")])
    write_version(store, "shards", [{name: rows[0].get(name) for name in older.names}], older, fingerprint="without")
    found = [columns_read(store, TableRef(name="shards", version=version)) for version in (0, 1)]
    assert found == [[*generate.COLUMNS, "indication", "prior_report"], generate.COLUMNS]
