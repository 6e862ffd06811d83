"""The configuration reference, from the pydantic models and the presets."""

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trrg_core.config.load import load_config
from trrg_core.config.values import PRESETS

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def describe_configuration() -> str:
    """Every section as Markdown: a heading, what it is for, and a table of its settings."""
    configs = [load_config(preset) for preset in PRESETS]
    return "\n".join(_sections("", configs))


def _sections(path: str, sections: list[Any]) -> Iterator[str]:
    model = type(sections[0])
    fields = model.model_fields
    values = {name: [getattr(section, name) for section in sections] for name in fields}
    nested = [name for name, found in values.items() if isinstance(found[0], BaseModel)]
    yield f"## {path or 'The whole configuration'}\n"
    yield f"{_text(model.__doc__ or '')}\n"
    plain = [name for name in fields if name not in nested]
    if plain:
        yield "| setting | type | value in the presets | meaning |"
        yield "| --- | --- | --- | --- |"
        for name in plain:
            yield _row(f"{path}.{name}".lstrip("."), fields[name], values[name])
        yield ""
    for name in nested:
        yield from _sections(f"{path}.{fields[name].alias or name}".lstrip("."), values[name])


def _row(key: str, field: FieldInfo, values: list[Any]) -> str:
    return f"| `{key}` | {_type(field)} | {_values(values)} | {_text(field.description or '')} |"


def _values(values: list[Any]) -> str:
    if all(value == values[0] for value in values):
        return _value(values[0])
    return "; ".join(f"{preset}: {_value(value)}" for preset, value in zip(PRESETS, values, strict=True))


def _value(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


def _type(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    name = _generic(annotation) if hasattr(annotation, "__args__") else f"`{annotation.__name__}`"
    bounds = [
        f"{sign} {bound:g}"
        for item in field.metadata
        for key, sign in BOUNDS.items()
        if (bound := getattr(item, key, None)) is not None
    ]
    return ", ".join([name, *bounds]).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def _generic(annotation: Any) -> str:
    arguments = annotation.__args__
    if all(isinstance(item, str) for item in arguments):
        return " or ".join(f"`{item}`" for item in arguments)
    if isinstance(annotation, UnionType):
        return " or ".join(f"`{'null' if item is NoneType else item.__name__}`" for item in arguments)
    return f"`{getattr(annotation.__origin__, '__name__', annotation)}`"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
