from collections.abc import Iterator

import numpy as np
import pytest

from tests.core.faulty_s3 import FaultyS3, faulty_s3, make_bucket
from trrg_core.config.settings import PlainConfig, SourceConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.sources import open_source
from trrg_core.storage.store import open_store


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    with faulty_s3() as state:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "invented")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.endpoint)
        make_bucket(state, "source")
        yield state


def test_a_source_in_s3_reads_through_faults_and_follows_content(service: FaultyS3) -> None:
    store = open_store("s3://source/export")
    store.write_bytes("export.csv", b"patient,image,report\nP1,a,Clear.\nP2,b,Stable.\n")
    store.write_bytes("a.jpg", encode_jpeg(np.arange(50, dtype=np.uint8)[None].repeat(40, 0)))
    plain = PlainConfig(table="export.csv", image_path="{image}.jpg")
    source = open_source(SourceConfig(kind="plain", root="s3://source/export", plain=plain))
    service.faults += ["503", "reset"]
    listing = source.list_studies()
    assert [source.read_report(study).text for study in listing.studies] == ["Clear.", "Stable."]
    service.faults += ["500"]
    assert source.read_image(listing.studies[0].images[0]).columns == 50
    with pytest.raises(DataError) as caught:
        source.read_image(listing.studies[1].images[0])
    assert caught.value.reason == "missing_image"
    before = source.fingerprint(listing)
    assert source.fingerprint(listing) == before
    store.write_bytes("a.jpg", encode_jpeg(np.full((40, 50), 91, np.uint8)))
    assert source.fingerprint(listing) != before
