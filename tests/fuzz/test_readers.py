"""Every reader of untrusted bytes keeps its contract on damaged and invented inputs.

`make fuzz` runs many more of them. An input that breaks the contract is kept as a file of `corpus`.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.targets import CORPUS, TARGETS, BrokenContractError, check

NUM_EXAMPLES = int(os.environ.get("TRRG_FUZZ_EXAMPLES", "60"))
IS_LONG = "TRRG_FUZZ_EXAMPLES" in os.environ

# values that lengths, counts and sizes of binary formats fail on, and the syntax of the text formats
TOKENS = [
    *[
        b"\xff" * 4,
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0" * 4,
        b"\x80\0\0\0",
        b"\0\0",
        b"\xff\xda",
        b"\xff\xc0",
    ],
    *[b'"', b'""', b",", b"\n", b"[", b"]", b"{", b"}", b"<", b">", b"&", b"*a", b"&a ", b"!!", b"<!DOCTYPE a>"],
    *[b"\xed\xa0\x80", b"\xe9", b"\\ud800", b"\xef\xbb\xbf", b"1e999", b"-1", b"nan", b"no ", b"(", b")", b": "],
]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["put", "insert", "cut", "repeat"]),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(TOKENS)),
        st.sampled_from([1, 2, 9, 300, 20_000]),
    ),
    max_size=6,
)


def edited(data: bytes, edits: list[tuple[float, str, bytes, int]]) -> bytes:
    for share, kind, piece, count in edits:
        at = int(share * len(data))
        if kind == "put":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + count :]
        else:
            data = data[:at] + piece * count + data[at:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_a_sound_input_is_read(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_input_gives_rows_or_a_reason(name: str) -> None:
    seeds = TARGETS[name].seeds()

    @settings(
        max_examples=NUM_EXAMPLES,
        deadline=None,
        derandomize=not IS_LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if IS_LONG else (Phase.generate,),
    )
    @given(seed=st.sampled_from(seeds), edits=EDITS)
    def run(seed: bytes, edits: list[tuple[float, str, bytes, int]]) -> None:
        check(name, edited(seed, edits))

    run()


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*-*")))
def test_an_input_that_once_broke_a_reader_does_not_any_more(name: str) -> None:
    check(name.partition("-")[0], (CORPUS / name).read_bytes())


def test_the_contract_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MAX_CPU_S", 0.2)

    def loop(data: bytes) -> object:
        while data:
            pass
        return None

    for read in (loop, lambda data: bytearray(2**30), lambda data: {}["a"]):
        monkeypatch.setitem(TARGETS, "broken", targets.Target(read, list))
        with pytest.raises(BrokenContractError):
            check("broken", b"x")
