import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.config.values import PRESETS, load_yaml
from trrg_core.errors import ConfigError
from trrg_core.weights.weight_package import weight_packages


def _models(model: type[BaseModel] = TrrgConfig) -> Iterator[type[BaseModel]]:
    yield model
    for info in model.model_fields.values():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _models(info.annotation)


def _leaves(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*prefix, key))
        else:
            yield *prefix, key


def _with(values: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    head, *rest = path
    return {**values, head: _with(values[head], tuple(rest), value) if rest else value}


def test_an_override_sets_one_value_and_leaves_the_others() -> None:
    plain, changed = load_config("tiny"), load_config("tiny", ["finetune.lora.rank=3"])
    assert changed.finetune.lora.rank == 3
    lora = plain.finetune.lora.model_copy(update={"rank": 3})
    assert changed == plain.model_copy(update={"finetune": plain.finetune.model_copy(update={"lora": lora})})


def test_the_last_of_two_overrides_counts() -> None:
    assert load_config("tiny", ["seed=1", "seed=2"]).seed == 2


def test_an_override_reaches_the_free_values_of_a_backbone() -> None:
    config = load_config("tiny", ["finetune.llm.config.num_hidden_layers=5"])
    assert config.finetune.llm.config["num_hidden_layers"] == 5
    assert config.finetune.llm.config["model_type"] == "llama"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("finetune.cluse=off", "finetune.clues"),
        ("engine.zero_stag=1", "engine.zero_stage"),
        ("finetune.lora.rnak=4", "finetune.lora.rank"),
        ("registr.model_name=x", "register"),
        ("sede=3", "seed"),
    ],
)
def test_a_wrong_key_names_the_nearest_right_one(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [wrong])
    key = wrong.partition("=")[0]
    assert f"did you mean {right!r}" in str(caught.value)
    assert repr(key.split(".")[0] if right == "register" else key) in str(caught.value)


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("finetune.epochs=0", "finetune.epochs"),
        ("finetune.clues=maybe", "finetune.clues"),
        ("engine.zero_stage=4", "engine.zero_stage"),
        ("pretrain.pixel_std=1e-40", "pretrain.pixel_std"),
        ("engine.feed_workers=257", "engine.feed_workers"),
        ("engine.num_workers=two", "engine.num_workers"),
        ("seed.x=1", "seed"),
    ],
)
def test_a_wrong_value_is_reported_with_its_key_and_input(override: str, where: str) -> None:
    with pytest.raises(ConfigError, match=f"^{where}: .*found "):
        load_config("tiny", [override])


@pytest.mark.parametrize("override", ["finetune.epochs", "=3", "finetune.clues=[", "finetune.prompt='open"])
def test_an_override_that_cannot_be_read_is_a_config_error_in_one_line(override: str) -> None:
    with pytest.raises(ConfigError, match="--set") as caught:
        load_config("tiny", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001", "+1.e-4"])
def test_every_spelling_of_a_small_number_is_that_number(text: str) -> None:
    config = load_config(
        "tiny", [f"finetune.optimizer.learning_rate={text}", f"finetune.llm.config.rms_norm_eps={text}"]
    )
    assert config.finetune.optimizer.learning_rate == 1e-4
    # the values of a backbone have no declared type: as a string this would reach the model
    assert config.finetune.llm.config["rms_norm_eps"] == 1e-4


@pytest.mark.parametrize(
    ("text", "clues"), [("on", "on"), ("off", "off"), ("true", "on"), ("'off'", "off"), ("oracle", "oracle")]
)
def test_clues_survive_yaml_reading_on_and_off_as_booleans(text: str, clues: str) -> None:
    assert load_config("tiny", [f"finetune.clues={text}"]).finetune.clues == clues


def test_presets_differ_in_values_only() -> None:
    # a backbone is either named or built from values, so only these may hold different keys
    keys = {
        preset: {
            leaf[: leaf.index("config") + 1] if "config" in leaf else leaf
            for leaf in _leaves(load_config(preset).model_dump(mode="json"))
        }
        for preset in PRESETS
    }
    assert keys["tiny"] == keys["small"] == keys["base"]


def test_small_names_weights_that_can_be_made() -> None:
    config = load_config("small")
    named = [config.pretrain.image_encoder, config.pretrain.text_encoder, config.finetune.llm]
    assert {encoder.pretrained for encoder in named} == {f"weights:{package.name}" for package in weight_packages()}


def test_the_configuration_is_frozen_at_every_level() -> None:
    config = load_config("tiny")
    for section in (config, config.finetune, config.finetune.lora, config.engine):
        name = next(iter(type(section).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))
    for model in _models():
        assert model.model_config["frozen"], model
        assert model.model_config["extra"] == "forbid", model


def test_every_setting_explains_itself() -> None:
    for model in _models():
        for name, info in model.model_fields.items():
            is_section = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            assert is_section or info.description, f"{model.__name__}.{name}"


def test_no_field_looks_like_a_secret() -> None:
    smells = {"password", "passwd", "secret", "token", "credential", "credentials", "auth", "key", "apikey", "private"}
    fields = [(model, name) for model in _models() for name in model.model_fields]
    assert len(fields) > 80
    # the path of a file with a secret is none
    found = [f"{model.__name__}.{name}" for model, name in fields if smells & set(name.split("_"))]
    assert [name for name in found if not name.endswith("_file")] == []


def test_a_file_gives_only_what_differs_from_its_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: tiny\nseed: 3\nfinetune: {lora: {rank: 2}}\n")
    assert load_config(str(file)) == load_config("tiny", ["seed=3", "finetune.lora.rank=2"])
    assert load_config(str(file), ["seed=4"]).seed == 4


def test_a_file_may_start_from_another_file(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text("preset: tiny\nseed: 3\n")
    (tmp_path / "second.yaml").write_text(f"preset: {tmp_path}/first.yaml\nfinetune: {{epochs: 2}}\n")
    assert load_config(str(tmp_path / "second.yaml")) == load_config("tiny", ["seed=3", "finetune.epochs=2"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("preset: [tiny]", "must name a preset"),
        ("preset: huge", "no preset or file 'huge'"),
        ("- a list", "expected a mapping"),
        ("seed: [", "is not YAML"),
        ("preset: {here}", "refers back to this file"),
        ("preset: tiny\ndeed: 3", "did you mean 'seed'"),
    ],
)
def test_a_wrong_file_is_rejected_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("{here}", str(file)))
    with pytest.raises(ConfigError, match=reason):
        load_config(str(file))


def test_a_file_that_is_no_text_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\x00\x80")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(str(tmp_path / "mine.yaml"))


def test_a_misspelt_preset_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        load_config("tinny")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_yaml_and_json(preset: str) -> None:
    config = load_config(preset)
    assert TrrgConfig.model_validate(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config
    assert TrrgConfig.model_validate_json(config.model_dump_json()) == config
    assert "register" in config.model_dump()


def test_a_fingerprint_is_the_hash_of_the_sorted_json() -> None:
    expected = hashlib.sha256(b'[{"a":1,"b":[2.5,null]},"x"]').hexdigest()[:16]
    assert fingerprint({"b": [2.5, None], "a": 1}, "x") == expected
    assert fingerprint({"a": 1, "b": (2.5, None)}, "x") == expected


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from trrg_core.config.fingerprint import fingerprint; from trrg_core.config.load import load_config; "
        "print(fingerprint(load_config('tiny'), 'shards@2'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "3"},
    ).stdout.strip()
    assert printed == fingerprint(load_config("tiny"), "shards@2")


def test_a_fingerprint_changes_with_every_single_value() -> None:
    values = load_config("tiny").model_dump(mode="json")
    leaves = list(_leaves(values))
    seen = {fingerprint(values), *(fingerprint(_with(values, leaf, "another value")) for leaf in leaves)}
    assert len(seen) == len(leaves) + 1 > 80


def test_a_fingerprint_takes_no_value_that_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="set cannot be part"):
        fingerprint({1, 2})


def test_candidates_and_beams_are_not_searched_at_once() -> None:
    # the words of the check alone: not those of pydantic before it, nor all values of the section behind it
    with pytest.raises(ConfigError, match=r"^generate: candidates are .*: set num_beams or candidates to 1$"):
        load_config("tiny", ["generate.candidates=4", "generate.num_beams=2"])


def test_the_preset_of_a_file_is_looked_for_beside_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine" / "start.yaml").write_text("preset: tiny\nseed: 3\n")
    (tmp_path / "mine" / "more.yaml").write_text("preset: start.yaml\nfinetune: {epochs: 2}\n")
    (tmp_path / "elsewhere" / "start.yaml").write_text("preset: tiny\nseed: 4\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config("../mine/more.yaml")
    assert (config.seed, config.finetune.epochs) == (3, 2)
    (tmp_path / "mine" / "start.yaml").unlink()
    with pytest.raises(ConfigError, match=r"no preset or file 'start\.yaml'"):
        load_config("../mine/more.yaml")


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        ("register.tracking_uri", "https://ann:hunter2@mlflow.example.org"),
        ("register.tracking_uri", "https://hunter2@mlflow.example.org"),
        ("register.tracking_uri", "postgresql+psycopg2://ann:hunter2@db/mlflow"),
        ("source.root", "s3://ann:hunter2@bucket/mimic"),
        ("ray.jobs_address", "http://ann:hunter2@head:8265"),
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(key: str, uri: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: must not contain credentials") as caught:
        load_config("tiny", [f"{key}={uri}"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["https://mlflow.example.org/a@b", "postgresql://ann@db/mlflow", "sqlite:////tmp/a:b@c.db", "models@home"]
)
def test_an_address_without_credentials_is_taken(uri: str) -> None:
    assert load_config("tiny", [f"register.override={uri}"]).register_.override == uri


@pytest.mark.parametrize(
    "uri",
    ["http://mlflow:5000", "https://mlflow.example.org/a", "postgresql+psycopg2://db/mlflow", "mysql://db/mlflow"],
)
def test_a_registry_is_on_a_server(uri: str) -> None:
    assert load_config("tiny", [f"register.tracking_uri={uri}"]).register_.tracking_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////tmp/other.db",
        "sqlite:///a.db",
        "file:///tmp/mlruns",
        "mlruns",
        "/etc",
        "http://",
        "uc:x",
        "plugin://x",
    ],
)
def test_a_registry_in_another_file_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"register\.tracking_uri: expected http\(s\)://HOST or postgresql"):
        load_config("tiny", [f"register.tracking_uri={uri}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a {k: 1}\nb:\n" + "- {<<: *a, x: 1}\n" * 30_000, "more than 100000 values"),
        (
            "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 3000)),
            "more than 100000 keys by merging",
        ),
        ("- " * 2_000_000 + "1", "nested more than 30 deep"),
        ("[" * 4_000_000, "nested more than 30 deep"),
    ],
    ids=["merge keys", "chain of merge keys", "block depth", "flow depth"],
)
def test_yaml_that_would_take_long_is_refused_before_it_is_built(text, message):
    began = time.process_time()
    with pytest.raises(ConfigError, match=message):
        load_yaml(text, "a.yaml")
    assert time.process_time() - began < 5


def test_yaml_keeps_its_values_under_a_merge_key():
    text = "a: &a {rate: 1e-4, deep: yes}\nb: {<<: *a, rate: 2}\nc: {<<: [*a, {n: 0x1F}]}"
    assert load_yaml(text, "a.yaml") == {
        "a": {"rate": 1e-4, "deep": True},
        "b": {"deep": True, "rate": 2},
        "c": {"deep": True, "rate": 1e-4, "n": 31},
    }


@pytest.mark.parametrize("value", ["nan", ".nan", "inf", "-.inf"])
def test_a_number_of_the_configuration_is_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.optimizer\.learning_rate: Input should be a finite number"):
        load_config("tiny", [f"pretrain.optimizer.learning_rate={value}"])


def test_another_architecture_takes_no_value_of_the_one_before() -> None:
    own = {"model_type": "vit", "hidden_size": 32}
    config = load_config("tiny", ["pretrain.image_encoder.config={model_type: vit, hidden_size: 32}"])
    assert config.pretrain.image_encoder.config == own
    changed = load_config("tiny", ["pretrain.image_encoder.config={embedding_size: 8}"])
    assert changed.pretrain.image_encoder.config["hidden_sizes"] == [24, 48, 96]


def test_heads_that_do_not_divide_the_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="interaction_size 128 is not a multiple of interaction_heads 3"):
        load_config("tiny", ["finetune.interaction_heads=3"])


def test_a_batch_of_ten_million_is_refused() -> None:
    for stage in ("pretrain", "finetune"):
        with pytest.raises(ConfigError, match=rf"{stage}\.batch_size: Input should be less than or equal to 1048576"):
            load_config("tiny", [f"{stage}.batch_size=10000000"])


def test_weights_of_losses_that_are_all_zero_are_refused() -> None:
    names = ("contrastive_weight", "local_weight", "hard_negative_weight", "side_prompt_weight", "degree_prompt_weight")
    zero = [f"pretrain.{name}=0" for name in names]
    assert load_config("tiny", zero).pretrain.prompt_weight > 0
    for more in ("pretrain.prompt_weight=0", "pretrain.prompt_supervision=false"):
        with pytest.raises(ConfigError, match=r"pretrain: the weights of all losses are 0"):
            load_config("tiny", [*zero, more])
