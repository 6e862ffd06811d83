"""Draws the two diagrams of the architecture page: `python docs/make_diagrams.py` writes `docs/_static/*.svg`.

The layers come from the import contracts in `pyproject.toml`. Boxes are filled and lines are mid-grey, so that both
pictures read on a light and on a dark page.
"""

import tomllib
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
DATA, MODEL, RESULT, CHOICE = "#CFE3F7", "#DDD3F2", "#CFEBD9", "#F7E3C3"
INK, LINE = "#1F2328", "#7D8590"
FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def main() -> None:
    """Write both diagrams."""
    for name, picture in (("walk", draw_walk()), ("layers", draw_layers())):
        (HERE / "_static" / f"{name}.svg").write_text(picture, "utf-8")


def draw_walk() -> str:
    """The jobs in two rows, with the table or run that each hands to the next."""
    data = [("source tree", "only read", RESULT), ("ingest", "studies", DATA)]
    data += [("parse", "reports", DATA), ("shard", "shards", DATA)]
    train = [("pretrain", "contrastive run", MODEL), ("finetune", "generator run", MODEL)]
    train += [("generate", "predictions", DATA), ("evaluate", "scores, HTML report", RESULT)]
    train += [("register", "model version", RESULT)]
    parts = [_box(20 + 165 * at, 20, 140, *item) for at, item in enumerate(data)]
    parts += [_arrow(160 + 165 * at, 48, 185 + 165 * at, 48) for at in range(len(data) - 1)]
    parts.append(_box(680, 20, 140, "reslice", "slices (optional)", CHOICE))
    parts.append(_arrow(655, 48, 680, 48))
    parts += [_box(20 + 165 * at, 150, 140, *item) for at, item in enumerate(train)]
    parts += [_arrow(160 + 165 * at, 178, 185 + 165 * at, 178) for at in range(len(train) - 1)]
    # from shards, and from the slice where there is one, to the first training stage
    parts.append(_path("M 585 76 V 112 H 90 V 150"))
    parts.append(_path("M 750 76 V 112 H 585", head=False))
    parts.append(_label(430, 232, "each job reads one version and writes a new one; what is set aside goes to rejects"))
    parts.append(_label(340, 104, "training reads shards, through a slice if one is given"))
    return _svg(860, 250, "The walk of a study", parts)


def draw_layers() -> str:
    """The three floors, and the layers inside core from the import contract."""
    contracts = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item.get("containers") == ["trrg_core"])
    parts = [
        _box(20, 20, 220, "flows", "when: Prefect, the command line", CHOICE),
        _box(20, 130, 220, "pipelines", "where: Ray, DeepSpeed, MLflow", MODEL),
        _box(20, 240, 220, "trrg_core", "what: rules, formulas, models", DATA),
        _arrow(130, 76, 130, 130),
        _arrow(130, 186, 130, 240),
        _label(130, 330, "an arrow means: imports"),
        _path("M 240 268 H 290", head=False),
    ]
    for at, layer in enumerate(layers):
        names = " | ".join(name.strip() for name in layer.replace(":", "|").split("|"))
        y = 20 + at * 56
        parts.append(_row(300, y, 540, names))
        if at:
            parts.append(_arrow(570, y - 18, 570, y))
    height = max(360, 20 + len(layers) * 56 + 10)
    return _svg(860, height, "The layers: imports point downwards only", parts)


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {FONT}>\n"
        f"<title>{escape(title)}</title>\n"
        f"<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>"
        f"<path d='M0 0 L8 4 L0 8 z' fill='{LINE}'/></marker></defs>\n"
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _box(x: int, y: int, width: int, name: str, detail: str, colour: str) -> str:
    middle = x + width / 2
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='56' rx='6' fill='{colour}'/>"
        f"<text x='{middle:g}' y='{y + 24}' text-anchor='middle' font-size='15' font-weight='600' fill='{INK}'>"
        f"{escape(name)}</text>"
        f"<text x='{middle:g}' y='{y + 43}' text-anchor='middle' font-size='11' fill='{INK}'>{escape(detail)}</text>"
    )


def _row(x: int, y: int, width: int, names: str) -> str:
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='38' rx='6' fill='{DATA}'/>"
        f"<text x='{x + width / 2:g}' y='{y + 24}' text-anchor='middle' font-size='14' fill='{INK}'>"
        f"{escape(names)}</text>"
    )


def _label(x: int, y: int, text: str) -> str:
    return f"<text x='{x}' y='{y}' text-anchor='middle' font-size='12' fill='{LINE}'>{escape(text)}</text>"


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return _path(f"M {x1} {y1} L {x2} {y2}")


def _path(steps: str, *, head: bool = True) -> str:
    end = " marker-end='url(#head)'" if head else ""
    return f"<path d='{steps}' fill='none' stroke='{LINE}' stroke-width='1.5'{end}/>"


if __name__ == "__main__":
    main()
