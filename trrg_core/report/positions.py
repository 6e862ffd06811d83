"""The position of a device: `malpositioned` where the words around it say so, "" else."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from trrg_core.report.candidates import Candidate
from trrg_core.report.scan import Scan

MALPOSITIONED = "malpositioned"
# an endotracheal tube belongs 2 cm or more above the carina
_ABOVE_CARINA = re.compile(r"(?<![\d.])(?:[01](?:\.\d+)? ?cm|1?\d ?mm) (?:above|from|proximal to) (?:the )?carina")
# "adv 2cm", "pull 1 cm"; what was "pulled back" has been moved
_MOVE = re.compile(
    r"\b(?:adv|advance|pull|push|withdraw|retract)(?: back| in| out| by)*(?: now| asap| ?~?\d+(?:\.\d+)? ?[cm]m)\b"
)
_LINE, _PERIPHERAL = "central_venous_catheter", "peripheral_line"
# a line from the arm, or words of where a line ends
_TIP = re.compile(
    r"\b(?:piccs?|midline|tip|ends?|ending|terminat[a-z]+|lies|located|positioned|coil[a-z]*|loop[a-z]*)\b"
)
# what is said of a device ends there: "NGT coiled in esophagus, ETT ok"
_JOINTS = (",", ";", " and ")
# said of the device in front of it: "NGT in oesophagus ETT ok"
_BEHIND_DEVICE = re.compile(
    r"(?:in|into|within|at|above|below|beyond|over|to|down|too|tip|coil|loop|is|lies|ends|kinked)"
)
_DENIED = re.compile(r"\b(?:not|no|without) (?:\w+ )?$")


def find_positions(candidates: Sequence[Candidate], scan: Scan, kinds: Mapping[str, str]) -> list[str]:
    """The position of each candidate of a sentence; a device is spoken of until the next device is named."""
    positions = [""] * len(candidates)
    devices = [number for number, candidate in enumerate(candidates) if kinds.get(candidate.finding) == "device"]
    if not devices:
        return positions
    text = scan.plain.text
    typed = "adv" in text or "pull" in text or "push" in text or "ract" in text or "withdraw" in text
    wrong = [(hit.start, hit.entry.positions) for hit in scan.attributes if hit.entry.positions]
    wrong = sorted((start, names) for start, names in wrong if not _DENIED.search(text, max(0, start - 16), start))
    ends = [candidates[number].end for number in devices]
    starts = [start for start, _ in wrong]
    for at, number in enumerate(devices):
        low = candidates[devices[at - 1]].end if at else 0
        high = candidates[devices[at + 1]].start if at + 1 < len(devices) else len(text)
        name = candidates[number].finding
        if at:
            low = max(low, *(text.rfind(joint, low, candidates[number].start) for joint in _JOINTS))
        named = wrong[bisect_left(starts, low) : bisect_left(starts, high)]
        if at and low == ends[at - 1]:
            named = [one for one in named if one[0] >= ends[at] or not _BEHIND_DEVICE.match(text, one[0])]
        is_wrong = any(
            name in names
            or "any" in names
            or (name == _LINE and _PERIPHERAL in names and _TIP.search(text, candidates[number].start, start))
            for start, names in named
        )
        if (
            is_wrong
            or (typed and _MOVE.search(text, low, high))
            or (name == "endotracheal_tube" and _ABOVE_CARINA.search(text, low, high))
        ):
            positions[number] = MALPOSITIONED
    return positions
