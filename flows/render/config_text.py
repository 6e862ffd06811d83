"""The configuration as commented YAML."""

import json

from pydantic import BaseModel

from trrg_core.config.settings import TrrgConfig


def explain_config(config: TrrgConfig) -> str:
    """The configuration as YAML, with the description of each value as a comment."""
    return "\n".join(_explain_section(config, 0))


def _explain_section(section: BaseModel, depth: int) -> list[str]:
    lines, pad = [], "  " * depth
    for name, info in type(section).model_fields.items():
        value, key = getattr(section, name), info.alias or name
        if isinstance(value, BaseModel):
            lines += [f"{pad}{key}:", *_explain_section(value, depth + 1)]
        else:
            comment = f"  # {info.description}" if info.description else ""
            lines.append(f"{pad}{key}: {json.dumps(value, ensure_ascii=False)}{comment}")
    return lines
