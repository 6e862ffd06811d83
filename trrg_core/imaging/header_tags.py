"""The allow-list of DICOM header tags that are read out of a file."""

# technical tags, sex and age: names, dates, ids, free text and private tags are never read out
ALLOWED_TAGS = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "Rows",
    "Columns",
    "BitsStored",
    "PhotometricInterpretation",
    "PatientSex",
    "PatientAge",
)
