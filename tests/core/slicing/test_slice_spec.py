from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.labels import Assertion
from trrg_core.slicing.spec import SliceSpec, list_templates, load_slice_spec, load_template, validate_slice_spec

YAML = """
name: more-pneumothorax
base: shards@3
where: num_views > 0
quotas:
  - {observation: Pneumothorax, share: 0.1}
caps:
  - {observation: Edema, assertion: ABSENT, count: 200}
max_negated_share: 0.5
negated:
  - {observation: Pneumothorax, share: 0.4}
balance:
  - {column: frontal, shares: {AP: 0.5, PA: 0.5}}
max_repeats: 3
"""


def test_a_spec_is_read_from_yaml_and_written_back_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(YAML)
    spec = load_slice_spec(file, {"seed": 11})
    assert (spec.name, spec.base, spec.max_repeats, spec.seed) == ("more-pneumothorax", "shards@3", 3, 11)
    assert (spec.quotas[0].assertion, spec.quotas[0].share) == (Assertion.PRESENT, 0.1)
    assert (spec.caps[0].assertion, spec.caps[0].count) == (Assertion.ABSENT, 200)
    assert spec.balance[0].shares == {"AP": 0.5, "PA": 0.5}
    assert validate_slice_spec(spec.model_dump(mode="json")) == spec


def test_an_empty_spec_asks_for_nothing() -> None:
    assert validate_slice_spec({}) == SliceSpec()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_repeat": 2}, "unknown key 'max_repeat'; did you mean 'max_repeats'?"),
        ({"quota": []}, "unknown key 'quota'; did you mean 'quotas'?"),
        (
            {"quotas": [{"observation": "Edema", "shre": 0.1}]},
            "unknown key 'quotas.0.shre'; did you mean 'quotas.share'?",
        ),
        ({"balance": [{"colum": "frontal", "shares": {"AP": 1}}]}, "did you mean 'balance.column'?"),
        ({"caps": [{"observation": "Edema"}]}, "give either `share` or `count`"),
        ({"caps": [{"observation": "Edema", "share": 0.1, "count": 3}]}, "give either `share` or `count`"),
        ({"caps": [{"observation": "Edema", "share": 1.5}]}, "caps.0.share"),
        ({"caps": [{"observation": "Edema", "assertion": "MAYBE", "share": 0.5}]}, "caps.0.assertion"),
        ({"balance": [{"column": "frontal", "shares": {"AP": 0.7, "PA": 0.7}}]}, "sum to at most 1"),
        (
            {"balance": [{"column": "frontal", "shares": {"AP": float("nan")}}]},
            "balance.0.shares.AP: Input should be a finite number",
        ),
        ({"base": "reports@1"}, "expected shards@VERSION"),
        ({"base": "shards"}, "NAME@VERSION"),
        ({"max_repeats": 0}, "max_repeats"),
        ({"name": "a/b"}, "name"),
        ({"rows": 0}, "rows"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong_and_where(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate_slice_spec(values)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [", "!!python/object:os.system {}"])
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"spec\.yaml"):
        load_slice_spec(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_slice_spec(tmp_path / "absent.yaml")


@pytest.mark.parametrize("name", list_templates())
def test_a_template_is_a_spec_that_says_what_it_is_for(name: str) -> None:
    assert load_template(name).name == name
    assert len(list_templates()[name]) > 20


def test_an_unknown_template_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no template 'rare-finding'.*'rare-findings'.*balanced-views, fewer-denials"
    ):
        load_template("rare-finding")


def test_every_field_explains_itself() -> None:
    assert not [name for name, field in SliceSpec.model_fields.items() if not field.description]
