"""A stand-in for pydantic, to read the settings of the project where it is not installed.

It gives the classes of `trrg_core.config` their defaults and the values of a preset, and checks no value: a test
compares what it reads with what pydantic reads.
"""

import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from typing import Any, Self

_REQUIRED: Any = object()


@dataclass(frozen=True, kw_only=True)
class _Field:
    default: Any
    default_factory: Callable[[], Any] | None
    alias: str

    def value(self, name: str) -> Any:
        if self.default_factory:
            return self.default_factory()
        if self.default is _REQUIRED:
            raise ValueError(f"the setting {name} has no value")
        return self.default


def _field(default: Any = _REQUIRED, *, default_factory: Any = None, alias: str = "", **_: Any) -> Any:
    return _Field(default=default, default_factory=default_factory, alias=alias)


class _Model:
    """As pydantic's `BaseModel`: a class whose annotated names are settings, without its checks."""

    def __init__(self, **values: Any) -> None:
        for name, form in typing.get_type_hints(type(self)).items():
            default = getattr(type(self), name, _REQUIRED)
            field = default if isinstance(default, _Field) else _field(default)
            given = [values.pop(key) for key in (field.alias, name) if key in values]
            setattr(self, name, _read(form, given[0]) if given else field.value(name))
        if values:
            raise ValueError(f"{type(self).__name__} has no setting {min(values)}")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    @classmethod
    def model_validate(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


def _read(form: Any, value: Any) -> Any:
    """A value of YAML as the annotation `form` has it: sections, tuples and floats differ."""
    if isinstance(form, type) and issubclass(form, _Model) and isinstance(value, Mapping):
        return form(**value)
    if form is float and isinstance(value, int):
        return float(value)
    if typing.get_origin(form) is tuple and isinstance(value, list):
        return tuple(value)
    if typing.get_origin(form) in (typing.Union, types.UnionType):
        sections = [one for one in typing.get_args(form) if isinstance(one, type) and issubclass(one, _Model)]
        return _read(sections[0], value) if sections else value
    return value


def _validator(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda function: function


def without_pydantic() -> None:
    """Put the stand-in in the place of pydantic, if that is not installed."""
    try:
        import pydantic  # noqa: F401
    except ModuleNotFoundError:
        import transformers  # noqa: F401  # looks for pydantic as it is imported

        names: dict[str, Any] = {
            "BaseModel": _Model,
            "ConfigDict": dict,
            "Field": _field,
            "TypeAdapter": None,
            "ValidationError": type("ValidationError", (ValueError,), {}),
            "field_validator": _validator,
            "model_validator": _validator,
        }
        for module, contents in {"pydantic": names, "pydantic_core": {"PydanticCustomError": ValueError}}.items():
            made = types.ModuleType(module)
            made.__spec__ = ModuleSpec(module, None)
            vars(made).update(contents)
            sys.modules[module] = made
