"""Words for the attributes of a sign: side, location, size and severity, singular or plural."""

from trrg_core.sources.sample.ground_truth import Device, Sign


def slots_of(sign: Sign) -> dict[str, str]:
    """Values of the slots `{side}`, `{size}`, `{lobe}`... for `sign`; capitalised keys have capitalised values."""
    both = sign.side == "both"
    side = "bilateral" if both else sign.side
    words = {
        "side": side,
        "sided": side if both else f"{side}-sided",
        "sides": "both sides" if both else f"the {side}",
        "s": "s" if both else "",
        "is": "are" if both else "is",
        "has": "have" if both else "has",
        "a": "" if both else "a ",
        "size": _step(sign.extent, ("small", "moderate", "large")),
        "grade": _step(sign.extent, ("mild", "moderate", "severe")),
        "gradely": _step(sign.extent, ("mildly", "moderately", "severely")),
        "zone": _zone(sign, side),
        "lobe": _lobe(sign, side),
        "base": _base(sign),
        "at": _basilar(sign),
        "cm": _size_cm(sign),
    }
    return words | {key.capitalize(): _capital(value) for key, value in words.items()}


def slots_of_device(device: Device, cm: float) -> dict[str, str]:
    """Values of the slots of a device sentence; `cm` is the height of a tube tip above the carina."""
    return {"side": device.side, "Side": device.side.capitalize(), "cm": f"{cm:.1f}"}


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _step(extent: float, words: tuple[str, str, str]) -> str:
    return words[0] if extent < 0.38 else words[1] if extent < 0.68 else words[2]


def _zone(sign: Sign, side: str) -> str:
    height = "mid" if sign.zone == "middle" else sign.zone
    return f"{side} {height} lung" + ("s" if sign.side == "both" else "")


def _lobe(sign: Sign, side: str) -> str:
    if sign.zone == "middle" and sign.side != "right":
        return _zone(sign, side)
    return f"{side} {sign.zone} lobe" + ("s" if sign.side == "both" else "")


def _base(sign: Sign) -> str:
    if sign.zone == "middle":
        return f"the {_zone(sign, 'bilateral' if sign.side == 'both' else sign.side)}"
    return "both lung bases" if sign.side == "both" else f"the {sign.side} lung base"


def _basilar(sign: Sign) -> str:
    if sign.zone == "middle":
        return _zone(sign, "bilateral" if sign.side == "both" else sign.side)
    return "bibasilar" if sign.side == "both" else f"{sign.side} basilar"


def _size_cm(sign: Sign) -> str:
    return f"{0.8 + 2.0 * sign.extent:.1f}" if sign.finding == "nodule" else f"{3.2 + 4.5 * sign.extent:.1f}"
