"""What the benches feed to the pipeline is what the pipeline makes: a bench is run by hand, and breaks unseen."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra.bench import generate, gpu, scale
from infra.bench.data_loader import make_shard_rows
from infra.bench.flips import measure_flips
from infra.bench.label_corpus import invent_labels
from infra.bench.llm_steps import Corpus, invent_sequences, measure, with_adapters
from infra.bench.serve import CONTENT_TYPE, draw_films, form_body
from infra.bench.tiny_model import write_tiny_model
from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelStatus
from pipelines.serving.study_request import read_study_request
from trrg_core.clue import KnownFindings
from trrg_core.config.load import load_config
from trrg_core.config.settings import EncoderConfig, LoraSettings
from trrg_core.generation.film_reading import FilmFormat
from trrg_core.labels import load_label_set
from trrg_core.model.backbones import build_backbone
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.sources.sample.layout import generate_studies
from trrg_core.storage.store import open_store
from trrg_core.tables.diff import compare_rows
from trrg_core.tables.schema import shards_schema


def test_the_loader_is_fed_rows_of_the_shards() -> None:
    rows = list(make_shard_rows(list(generate_studies(4, seed=1)), load_config("tiny")))
    assert rows
    assert {tuple(row) for row in rows} == {tuple(shards_schema(load_label_set("chexpert14")).names)}


def test_the_slice_compiler_is_fed_a_label_table_that_it_can_slice() -> None:
    invented = invent_labels(studies=600, patients=200)
    quota = {"observation": "Pneumothorax", "share": 0.1}
    plan = plan_slice(invented, validate_slice_spec({"rows": 200, "quotas": [quota], "max_repeats": 4}))
    assert plan.infeasible == ()
    assert abs(plan.num_rows - 200) <= 2


def test_the_coverage_of_flips_counts_each_fact_once() -> None:
    texts = ["FINDINGS: Small left effusion. Heart size is normal. Right middle lobe opacity."]
    coverage = measure_flips(texts)
    assert coverage.share("deny", "pleural_effusion") == (1.0, 1)
    assert coverage.share("affirm") == (1.0, 1)
    assert coverage.share("side", "pleural_effusion") == (1.0, 1)
    assert coverage.share("severity") == (1.0, 1)
    assert coverage.share("side", "opacity") == (1.0, 1)


def test_the_gpu_bench_trains_both_loads_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["contrastive", "--batch-size", "16", "--steps", "1", "--tiny", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [["pairs", "16", "16"], ["stage", "1", "2"]]
    assert "no verdict" in lines[-1]


@pytest.mark.parametrize("attention", ["sdpa", "packed"])
def test_the_gpu_bench_of_stage_two_trains_the_llm_of_tiny(attention: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--batch-size", "6", "--rounds", "1", "--attention", attention, "--checkpoint", "--tiny"]
    assert gpu.main(["finetune", *options, "--device", "cpu"]) == 0
    title, _, packed, padded, verdict = capsys.readouterr().out.splitlines()
    assert "adapters by peft" in title
    shares = [float(line.split()[2].rstrip("%")) for line in (packed, padded)]
    assert shares[0] < shares[1]
    assert shares[0] == 0 or attention == "sdpa"
    assert "no verdict" in verdict


def test_packed_steps_of_the_bench_have_the_losses_of_padded_ones_with_any_adapters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def losses(*, packing: bool) -> tuple[str, tuple[float, ...]]:
        torch.manual_seed(0)
        shape = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        llm = build_backbone(EncoderConfig(config=shape), role="causal", vocabulary_size=50)
        llm, adapters = with_adapters(llm, LoraSettings(rank=2, dropout=0.0))
        batches = invent_sequences(Corpus(prefix=3, median=8, sigma=0.8, longest=30), llm, number=5, batches=2)
        return adapters, measure(llm, batches, packing=packing, rounds=1, rate=0.1).losses

    assert losses(packing=True)[1] == pytest.approx(losses(packing=False)[1], rel=1e-4)
    monkeypatch.setitem(sys.modules, "trrg_core.model.adapters", None)  # as without peft
    adapters, packed = losses(packing=True)
    assert adapters == "this bench"
    assert packed == pytest.approx(losses(packing=False)[1], rel=1e-4)
    assert packed[0] != packed[1]


def test_the_server_is_sent_forms_that_it_reads() -> None:
    films = draw_films(2)
    assert len(set(films)) == 2
    study = read_study_request(
        form_body(films[1], 7),
        CONTENT_TYPE,
        ModelStatus(name="toy", loaded_at=0, form=FilmFormat(), findings=KnownFindings()),
        ServingLimits(),
    )
    assert (study.study_id, [film.view_position for film in study.films]) == ("7", ["PA"])


def test_the_generation_bench_compares_equal_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("MAX_TOKENS", 5), ("DRAFTS", 2), ("FEW", 1), ("FLOOR_DRAFTS", 0.0), ("FLOOR_REPORTS", 0.0)):
        monkeypatch.setattr(generate, name, value)
    cases = generate.make_cases(write_tiny_model(tmp_path / "model", seed=1), 3)
    assert generate.bench(cases, rounds=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cases) + 2
    assert sum(line.endswith("3/3") for line in lines) == 3
    other = replace(cases[0], peer=lambda: ["", "", ""])
    assert generate.bench([other], rounds=1) == 1
    assert "FAIL: reports: generate() study by study" in capsys.readouterr().out


def test_the_gpu_bench_generates_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--studies", "4", "--drafts", "2", "--prefix", "6", "--tokens", "3", "--tiny", "--device", "cpu"]
    assert gpu.main(["generate", *options]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line[40:47].strip() for line in lines] == ["4", "4", "2", "2"]
    assert [line.partition(":")[0] for line in lines] == ["reports", "reports", "2 drafts", "2 drafts"]


def test_the_bench_of_the_engine_resumes_what_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["engine", "--only", "stage 2, zero_stage=2", "--tiny", "--device", "cpu"]) == 0
    _, _, case, verdict = capsys.readouterr().out.splitlines()
    assert case.split()[-1] == "0e+00"
    assert verdict.startswith("PASS")


def test_each_step_of_the_bench_of_scale_finds_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "ROWS_PER_FILE", 100)
    store = open_store(str(tmp_path))
    scale.invent_shards(store, 230)
    changed = compare_rows(store, *scale.SHARDS)
    assert (changed.rows_before, changed.rows_after, len(changed.changed)) == (230, 230, 100)
    for step in scale.STEPS.values():
        step(store)
