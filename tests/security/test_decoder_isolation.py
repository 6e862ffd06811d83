"""A decoder that crashes, hangs, takes all memory or lies costs the one file that made it do so."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.jobs import ingest
from tests.pipelines.tree import make_tree
from tests.security import faulty_decoder, hostile_images
from trrg_core.config.load import load_config
from trrg_core.errors import DataError
from trrg_core.imaging import decoder_pool
from trrg_core.imaging.decode import ImageForm, prepare_image
from trrg_core.imaging.decoder_pool import DecoderLimits, prepare_isolated
from trrg_core.storage.store import open_store
from trrg_core.tables.rejects import count_rejects, read_rejects

FORM = ImageForm(max_side_px=32)
SOUND = hostile_images.jpeg()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    decoder_pool.end_decoders()
    monkeypatch.setattr(decoder_pool, "_MODULE", faulty_decoder.__name__)
    yield
    decoder_pool.end_decoders()


def reason_of(data: bytes, **limits: float) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        prepare_isolated(data, FORM, DecoderLimits(**limits))  # type: ignore[arg-type]
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("data", [SOUND, hostile_images.png(), hostile_images.dicom(ViewPosition="AP")])
def test_an_isolated_image_is_the_same_as_one_decoded_here(data: bytes) -> None:
    assert prepare_isolated(data, FORM) == prepare_image(data, FORM)


def test_a_reason_of_the_decoder_is_passed_on() -> None:
    assert reason_of(SOUND[:-2])[0] == "jpeg_truncated"
    assert reason_of(hostile_images.dicom_of_deep_sequences())[0] == "undecodable_image"


def test_each_fault_costs_its_file_and_the_next_is_decoded(
    faulty: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert reason_of(b"segfault") == ("decoder_crashed", "the decoder of 8 bytes was ended by SIGSEGV, twice")
    for data, seconds in ((b"hang", 0.5), (b"loop", 1)):
        reason, message = reason_of(data, timeout_s=seconds)
        assert (reason, f"not decoded in {seconds} s (ingest.decoder_timeout_s)" in message) == (
            "decoder_timeout",
            True,
        )
    assert reason_of(b"memory") == ("undecodable_image", "the decoder failed on 6 bytes: MemoryError")
    assert reason_of(b"write:" + bytes(tmp_path / "a"))[0] == "undecodable_image"
    assert (tmp_path / "a").stat().st_size == 0, "a decoder writes no file"
    assert "OverflowError" in reason_of(b"credentials")[1], "credentials are not passed on"
    assert reason_of(b"babble:" + SOUND)[0] == "decoder_crashed"
    assert prepare_isolated(SOUND, FORM) == prepare_image(SOUND, FORM)


def test_a_decoder_that_something_else_killed_costs_no_file(faulty: None, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:  # killed once, then it decodes the name of the marker
        prepare_isolated(b"once:" + bytes(tmp_path / "killed"), FORM)
    assert caught.value.reason == "not_an_image"
    assert (tmp_path / "killed").exists()


def test_threads_do_not_share_a_decoder() -> None:
    files = [
        hostile_images.saved(hostile_images.Pillow.linear_gradient("L").resize((64, 16 + at)), "PNG")
        for at in range(12)
    ]
    with ThreadPoolExecutor(3) as pool:
        images = list(pool.map(lambda data: prepare_isolated(data, ImageForm(max_side_px=512)), files))
    assert [image.rows for image in images] == [16 + at for at in range(12)]


def test_many_threads_start_no_more_decoders_than_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder_pool.end_decoders()
    started = []
    start = decoder_pool._start
    monkeypatch.setattr(decoder_pool, "_start", lambda memory_mb: started.append(memory_mb) or start(memory_mb))
    with ThreadPoolExecutor(decoder_pool._MOST + 8) as threads:
        images = list(threads.map(lambda _: prepare_isolated(SOUND, FORM), range(4 * decoder_pool._MOST)))
    assert all(image == prepare_image(SOUND, FORM) for image in images)
    assert 1 <= len(started) <= decoder_pool._MOST


def test_an_ingest_with_a_crash_and_a_hang_has_one_reject_for_each(faulty: None, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 8)
    numbers = sorted(tree.studies)
    tree.image(numbers[0]).write_bytes(b"segfault")
    tree.image(numbers[3], 1).write_bytes(b"hang")
    words = [f"source.root={tree.root}", "ingest.decoder_timeout_s=0.5", "ingest.max_reject_share=0.5"]
    store = open_store(str(tmp_path / "store"))
    result = ingest.run(load_config("tiny", words), store, {})
    assert count_rejects(read_rejects(store))["ingest"] == {
        "decoder_crashed": 1,
        "decoder_timeout": 1,
        "no_usable_image": 1,
    }
    assert result.counts["studies"] == 7, "a study keeps its sound images"


LARGE = {
    "png of 16 bits": lambda side: hostile_images.large_png(side, side, turned=True),
    "png of 4 x 16 bits": lambda side: hostile_images.large_png(side, side, colour=6, turned=True),
    "png of 3 x 8 bits": lambda side: hostile_images.large_png(side, side, bits=8, colour=2, turned=True),
    "jpeg": lambda side: hostile_images.large_jpeg(side, side),
    "dicom of 32 bits": lambda side: hostile_images.large_dicom_of_32_bits(side, side),
    "dicom, jpeg-ls": lambda side: hostile_images.large_jpeg_ls(side, side),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_the_largest_image_of_each_kind_is_decoded_in_400_mb_beside_its_file(kind: str) -> None:
    form = ImageForm()
    side = int(form.max_pixels**0.5)
    data = LARGE[kind](side)
    limits = DecoderLimits(memory_mb=400 + len(data) // 2**20)
    # that it is black is seen last, when it is decoded, encoded and searched for text
    for allowed, reason in ((form.max_pixels, "blank_image"), (side**2 - 1, "too_many_pixels")):
        with pytest.raises(DataError) as caught:
            prepare_isolated(data, ImageForm(max_pixels=allowed), limits)
        assert caught.value.reason == reason


PARENT = """
import sys
from trrg_core.imaging import decoder_pool
from trrg_core.imaging.decode import ImageForm
decoder_pool.prepare_isolated(open(sys.argv[1], "rb").read(), ImageForm())
print(decoder_pool._idle.decoders[0].process.pid, flush=True)
input()
"""


def test_a_decoder_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(SOUND)
    command = [sys.executable, "-c", PARENT, str(tmp_path / "a.jpg")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
    for _ in range(200):
        if not is_running(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the decoder outlived its parent")


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
