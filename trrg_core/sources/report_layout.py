"""Sections of a report -> one text in the layout of MIMIC-CXR, so that one section parser reads all sources."""

from collections.abc import Mapping


def format_report(sections: Mapping[str, str]) -> str:
    """A report of `sections` (name to text) in the layout of MIMIC-CXR; empty when no section has text.

    White space inside a section becomes single spaces, so that no line of it can be mistaken for a header.
    """
    texts = {name: " ".join(text.split()) for name, text in sections.items()}
    if not any(texts.values()):
        return ""
    return " FINAL REPORT\n" + "".join(f" {name}:\n \n {text}\n \n" for name, text in texts.items() if text)
