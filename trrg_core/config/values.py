"""Configuration values from presets, YAML files and `a.b=value` overrides, and error messages that suggest a key."""

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from trrg_core.config.section import redact
from trrg_core.errors import ConfigError

MAX_TEXT, MAX_VALUES, MAX_DEPTH = 2**22, 100_000, 30  # of a YAML text: a spec may list studies
PRESETS = ("tiny", "small", "base")


# of libyaml, ten times as fast as PyYAML's own, where PyYAML was built with it
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _YamlLoader(_SafeLoader):  # type: ignore[misc]  # one of two classes
    """YAML 1.1, but `1e-4` is a number and not a text, which the config class of a backbone would not check."""

    num_merged = 0

    def flatten_mapping(self, node: Any) -> None:
        """As in PyYAML, but a chain of merge keys (`<<`) cannot write out more than MAX_VALUES keys."""
        super().flatten_mapping(node)
        self.num_merged += len(node.value)
        if self.num_merged > MAX_VALUES:
            raise yaml.constructor.ConstructorError(
                None, None, f"more than {MAX_VALUES} keys by merging", node.start_mark
            )


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_values(preset_or_path: str, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a preset or a YAML file, merged over those of the preset that the file starts from.

    Raises:
        ConfigError: if there is no such preset or file, or it is not YAML.
    """
    if preset_or_path in PRESETS:
        text = resources.files("trrg_core").joinpath("config", "presets", f"{preset_or_path}.yaml").read_text("utf-8")
        return load_yaml(text, preset_or_path)
    path = Path(preset_or_path)
    if not _is_file(path):
        raise _no_preset(preset_or_path)
    if path.absolute() in seen:
        raise ConfigError(f"{path}: its `preset` refers back to this file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    values = load_yaml(content, str(path))
    preset = values.pop("preset", "")
    if not isinstance(preset, str):
        raise ConfigError(f"{path}: `preset` must name a preset or a file, found {preset!r}")
    if not preset:
        return values
    beside = path.parent / preset
    if preset not in PRESETS and not _is_file(beside):
        raise _no_preset(preset)
    start = preset if preset in PRESETS else str(beside)
    return merge_values(read_values(start, (*seen, path.absolute())), values)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _no_preset(name: str) -> ConfigError:
    return ConfigError(f"no preset or file {name[:100]!r}: presets are {', '.join(PRESETS)}{nearest(name, PRESETS)}")


def load_yaml(text: str | bytes, where: str) -> dict[str, Any]:
    """The keys and values of a YAML text, none for an empty text. `where` names the text in error messages.

    Raises:
        ConfigError: if it is not YAML, or not a mapping.
    """
    values = _parse_yaml(text, where) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of keys, found {type(values).__name__}")
    return values


def _parse_yaml(text: str | bytes, where: str) -> Any:
    if len(text) > MAX_TEXT:
        raise ConfigError(f"{where} has more than {MAX_TEXT} characters")
    try:
        _check_events(text, where)
        values = yaml.load(text, _YamlLoader)  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())[:500]}") from error
    except RecursionError:
        raise ConfigError(f"{where} is nested more than {MAX_DEPTH} deep") from None
    _check_size(values, where)
    return values


def _check_events(text: str | bytes, where: str) -> None:
    """Check size and depth before anything is built: the loader recurses, and builds slowly.

    Raises:
        ConfigError: if there are more than MAX_VALUES values, or they are nested more than MAX_DEPTH deep.
    """
    depth = count = 0
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > MAX_DEPTH + 1:
            raise ConfigError(f"{where} is nested more than {MAX_DEPTH} deep")
        if count > MAX_VALUES:
            raise ConfigError(f"{where} has more than {MAX_VALUES} values")


def _check_size(values: Any, where: str) -> None:
    """Check how many values there are when every alias is written out: nine lines can stand for a billion.

    Raises:
        ConfigError: if there are more than MAX_VALUES, or they are nested more than MAX_DEPTH deep.
    """
    pending, count = [(values, 0)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where} is nested more than {MAX_DEPTH} deep")
        inner = (
            [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        )
        if count + len(pending) + len(inner) > MAX_VALUES:
            raise ConfigError(f"{where} has more than {MAX_VALUES} values, with its aliases written out")
        pending += [(item, depth + 1) for item in inner]


def parse_override(override: str) -> dict[str, Any]:
    """The value of an override `a.b=value`, nested under its keys.

    Raises:
        ConfigError: if it does not have this form.
    """
    key, separator, text = override.partition("=")
    shown = f"--set {redact(override)[:100]!r}"
    if not separator or not key.strip() or key.count(".") > MAX_DEPTH:
        raise ConfigError(f"{shown}: expected section.key=value, e.g. finetune.epochs=2")
    value = _parse_yaml(text, shown)
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def merge_values(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated with `change`, section by section.

    The values of an architecture are replaced as a whole by those of another one.
    """
    if "model_type" in base and change.get("model_type", base["model_type"]) != base["model_type"]:
        return dict(change)
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge_values(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name nearest to `name`, empty if none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def explain_errors(error: ValidationError, model: type[BaseModel]) -> str:
    """A message with each invalid key or value of `model`, its path, and the nearest valid key."""
    return "; ".join(_explain_item(item, model) for item in error.errors(include_url=False))


def _explain_item(item: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "configuration"
    if item["type"] == "extra_forbidden":
        key = ".".join(part for part in item["loc"] if isinstance(part, str))
        return f"unknown key {where!r}{nearest(key, _all_keys(model))}"
    if item["type"] == "credentials":
        return f"{where}: {item['msg']}"  # without the input, which holds the credentials
    if item["type"] == "value_error":  # of our own check, which says what it found; pydantic puts its own words before
        return f"{where}: {item['ctx']['error']}"
    return f"{where}: {item['msg']}, found {redact(repr(item['input']))[:200]}"


def _all_keys(model: type[BaseModel]) -> list[str]:
    keys: list[str] = []

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, info in model.model_fields.items():
            key = f"{prefix}{info.alias or name}"
            keys.append(key)
            for kind in (info.annotation, *get_args(info.annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    walk(kind, f"{key}.")

    walk(model, "")
    return keys
