import pytest

from trrg_core.report.identifiers import count_identifiers

ROWS = [
    ("Compared with the study of 1/2/2023.", {"date": 1}),
    ("Dated 2023-01-02 at 10:45.", {"date": 1, "time": 1}),
    ("Seen on March 3rd and in June 2019.", {"date": 2}),
    ("CT from 2014, radiograph since 3/14.", {"date": 2}),
    ("Discussed with Dr. Example at 3 pm.", {"name": 1, "time": 1}),
    ("Telephone 555-010-0199.", {"phone": 1}),
    ("MRN: 1234567.", {"record": 1}),
    ("accession number 42", {"record": 1}),
    ("Film of 12.03.2019, 2019/03/12 and 12-Mar-2019.", {"date": 3}),
    ("Seen on Monday and in January.", {"date": 2}),
    ("At 1030 hours.", {"time": 1}),
    ("Mr Example and Nurse Sample, Jane Doe, MD.", {"name": 3}),
    ("Pager 12345, 555-0199.", {"phone": 2}),
    ("Number 123-45-6789.", {"record": 1}),
]
CLEAN = [
    "A 1.5 cm nodule at T12, 3/4 of the hemithorax.",
    "Discussed with Dr. ___ at ___ on ___.",
    "Dr. XXXX was informed.",
    "This may represent edema; nodule of may 12 mm.",
    "MR chest is suggested.",
    "AP view, C5-C6 fusion, 2010 mm.",
    "Tip 3.2 cm above the carina.",
    "The patient is rotated. Patient XXXX moved. MR Chest is suggested.",
    "In May 20 mm; of may be edema; T12-L1; 2.5-3.1 cm; ratio 12.5.",
    "Left Basilar Opacity and Chest Tube.",
]


@pytest.mark.parametrize(("text", "counts"), ROWS)
def test_dates_times_names_and_numbers_are_counted_by_kind(text, counts):
    assert dict(count_identifiers(text)) == counts


@pytest.mark.parametrize("text", CLEAN)
def test_measures_levels_and_masks_are_no_identifiers(text):
    assert count_identifiers(text) == {}
