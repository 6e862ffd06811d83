"""The reference of the command line, from the typer application."""

from collections.abc import Iterator
from typing import Any

import typer

from flows.cli import app


def describe_commands() -> str:
    """Every command as Markdown: a heading, what it does, its usage, arguments, options and an example."""
    group: Any = typer.main.get_command(app)
    by_panel: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        panel = str(getattr(command, "rich_help_panel", "") or "")
        by_panel.setdefault(panel if panel != "None" else "", []).append(name)
    return "\n".join(line for names in by_panel.values() for name in names for line in _command(name, group))


def _command(name: str, group: Any) -> Iterator[str]:
    command = group.commands[name]
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and item.name != "help"]
    yield f"## trrg {name}\n"
    yield f"{_text(command.help or '')}\n"
    usage = " ".join(_argument(item) for item in arguments)
    yield f"```text\ntrrg {name} [OPTIONS] {usage}".rstrip() + "\n```\n"
    if arguments or options:
        yield "| argument or option | default | meaning |"
        yield "| --- | --- | --- |"
        for item in arguments:
            yield f"| `{_argument(item)}` | {_default(item)} | {_text(item.help or '')} |"
        for item in options:
            words = ", ".join(f"`{word}`" for word in (*item.opts, *item.secondary_opts))
            yield f"| {words} | {_default(item)} | {_text(item.help or '')} |"
        yield ""
    if command.epilog:
        yield _examples(command.epilog)


def _examples(epilog: str) -> str:
    """The epilog "Examples: one; two" as a block of commands."""
    lines = [line.strip().removeprefix("then ") for line in epilog.partition(": ")[2].split(";")]
    return "\n".join(["```bash", *lines, "```", ""])


def _argument(item: Any) -> str:
    name = item.metavar or item.name.upper()
    return name if item.required else f"[{name}]"


def _default(item: Any) -> str:
    if item.required:
        return "required"
    value = item.default
    if value in (None, "", False) or callable(value) or "Sentinel" in type(value).__name__:
        return ""
    return f"`{value}`"


def _text(text: str) -> str:
    return " ".join(text.replace("\b", "").split()).replace("|", "\\|").replace("<", "&lt;")
