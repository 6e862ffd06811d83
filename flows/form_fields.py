"""Types of the fields in the forms of Prefect.

A field that may be None is a form within the form, so no field may: the value that leaves a choice open is one of its
own.
"""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from trrg_core.config.data_settings import SourceKind

OF_PRESET = "preset"
_SOURCES = (OF_PRESET, *get_args(SourceKind))


def _check_source(name: str) -> str:
    if name not in _SOURCES:
        raise ValueError(f"source {name!r}: expected one of {', '.join(_SOURCES)}")
    return name


# the reader of a source tree, or that of the preset
SourceChoice = Annotated[
    str,
    BeforeValidator(lambda name: name or OF_PRESET),  # None is what runs of before have
    AfterValidator(_check_source),
    WithJsonSchema({"type": "string", "enum": list(_SOURCES)}),
]


def _without_empty(words: Any) -> Any:
    return [word for word in words if word != ""] if isinstance(words, list | tuple) else words or ()


# without a default, an item that was added and not filled in is null, which the form refuses to send
_Setting = Annotated[str, WithJsonSchema({"type": "string", "default": ""})]
# words such as `finetune.clues=off`, one per line of the form; empty lines are left out
Settings = Annotated[tuple[_Setting, ...], BeforeValidator(_without_empty)]


def chosen_source(choice: str) -> str:
    """The kind of a source; empty for that of the preset."""
    return "" if choice == OF_PRESET else choice


class FormOrder:
    """Keeps the fields of a model in the order of its class; PostgreSQL does not keep that of a JSON object."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the model with `position` in each field, as Prefect gives it to the parameters of a flow."""
        schema = handler(core_schema)
        _number_fields(handler.resolve_ref_schema(schema), handler)
        return schema


def _number_fields(schema: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        for part in (field, field.get("items", {}), *field.get("anyOf", ())):
            if "$ref" in part:
                _number_fields(handler.resolve_ref_schema(part), handler)
