"""Settings of the data stages: source, ingest, parse, shard."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trrg_core.config.section import ConfigSection, check_no_credentials

SourceKind = Literal["mimic-cxr", "iu-xray", "chexpert-plus", "rexgradient", "plain"]


class PlainConfig(ConfigSection):
    """A hospital's own export: one table, one row per radiograph. An empty name: no such column."""

    table: str = Field(
        "",
        description="Table file, CSV, TSV or Parquet; CSV and TSV may be gzipped. Relative to `source.root`. With a "
        "`*` several of the same columns, e.g. */metadata.parquet.",
    )
    image_path: str = Field(
        "{image}", description="Path of the image of a row; {name} stands for the value of column `name`."
    )
    report_column: str = Field("report", description="Column with the text of the report.")
    report_section: Literal["", "findings", "impression"] = Field(
        "",
        description="Section that the texts of `report_column` are, where they have no headings; empty where they do.",
    )
    report_path_column: str = Field(
        "", description="Column with the path of a report file; used instead of `report_column`."
    )
    patient_column: str = Field("patient", description="Column with the id of the patient.")
    study_column: str = Field("", description="Column with the id of the study; if empty, each row is one study.")
    prior_column: str = Field(
        "",
        description="Column with the id of the study before, empty for none; if unset, studies are ordered by "
        "date and time.",
    )
    image_id_column: str = Field("", description="Column with the id of the image; if empty, its path is its id.")
    split_column: str = Field("", description="Column with the split: train, validate or test.")
    view_column: str = Field("", description="Column with the view position.")
    date_column: str = Field("", description="Column with the date of the study, YYYYMMDD or YYYY-MM-DD.")
    time_column: str = Field(
        "", description="Column with the time of the study, HHMMSS or HH:MM:SS; seconds may have a fraction."
    )
    sex_column: str = Field("", description="Column with the sex of the patient: F or M, female or male.")
    age_column: str = Field("", description="Column with the age of the patient at the study, years.")

    @model_validator(mode="after")
    def _has_a_column_for_the_section(self) -> Self:
        if self.report_section and self.report_path_column:
            raise ValueError("report_section is of report_column: reports in files need headings")
        return self


class SourceConfig(ConfigSection):
    """The source of studies. It is only read, never changed."""

    kind: SourceKind = Field("mimic-cxr", description="Format of the source tree.")
    root: str = Field("", description="Folder or s3:// prefix of the source tree.")
    max_studies: int = Field(0, ge=0, description="Maximum number of studies to read; 0 reads all.")
    validate_share: float = Field(
        0.1, ge=0, lt=1, description="Share of patients assigned to `validate` when the source has no split, 0 to 1."
    )
    test_share: float = Field(
        0.1, ge=0, lt=1, description="Share of patients assigned to `test` when the source has no split, 0 to 1."
    )
    on_missing_split: Literal["hash", "reject"] = Field(
        "hash", description="Patients without a split in the source: assigned by a hash of the id, or set aside."
    )
    iu_form: Literal["auto", "xml", "kaggle", "r2gen"] = Field(
        "auto", description="Form of IU-Xray to read; auto reads the first one that exists."
    )
    image_folder: str = Field(
        "",
        description="Folder of the images: relative to `source.root`, or a second root, given as an absolute path or "
        "s3:// prefix; if empty, the images are searched for in `source.root`.",
    )
    plain: PlainConfig = PlainConfig()

    _root_is_public = field_validator("root")(check_no_credentials)


class IngestConfig(ConfigSection):
    """Checks of images and reports, and the form in which images are stored."""

    max_side_px: int = Field(512, ge=32, le=4096, description="Maximum long side of a stored image, pixels.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality of a stored image, 50 to 100.")
    max_pixels: int = Field(
        40_000_000, ge=1, description="Maximum size of an image by its header, pixels; larger images are not decoded."
    )
    max_reject_share: float = Field(
        0.2, ge=0, le=1, description="The run stops when a larger share of studies is set aside, 0 to 1."
    )
    max_reject_share_by_reason: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="The same limit per reason, e.g. {jpeg_corrupt: 0.01}; shares of all studies, 0 to 1.",
    )
    max_file_bytes: int = Field(
        268_435_456,
        ge=1,
        description="Maximum size of an image file, bytes; larger files are set aside without being read.",
    )
    decoder_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="CPU time to decode one image file, seconds, by the clock four times that; else set aside.",
    )
    decoder_memory_mb: int = Field(
        768,
        ge=256,
        description="Memory of the process that decodes image files, MB above what it starts with; more is needed "
        "where `max_pixels` is larger.",
    )
    max_report_bytes: int = Field(
        65_536, ge=1, description="Maximum size of a report, bytes; longer reports are set aside."
    )
    on_bad_encoding: Literal["reject", "cp1252"] = Field(
        "reject", description="Reports that are not UTF-8: set aside, or read as Windows-1252 and flagged."
    )
    find_burned_in_text: Literal["off", "dicom", "all"] = Field(
        "dicom",
        description="Images in which text near the borders is looked for and counted; nothing is dropped for it.",
    )
    on_near_duplicates: Literal["keep", "train-only"] = Field(
        "keep",
        description="Studies of validate and test whose report also stands in train: kept, or given no shard, so that "
        "they are not scored.",
    )


class ParseConfig(ConfigSection):
    """Parsing of reports."""

    label_set: str = Field(
        "chexpert14", description="Label set: the name of an included set, or the path of a YAML file."
    )
    spacy_model: str = Field(
        "", description="Path of a trained scispaCy model that adds mentions to those of the rules; empty for none."
    )
    spacy_model_sha256: str = Field("", description="Expected SHA-256 of the model folder, hexadecimal.")


class ShardConfig(ConfigSection):
    """Training shards."""

    section: Literal["findings", "impression", "findings+impression"] = Field(
        "findings", description="Report section that the generator is trained to write."
    )
    max_side_px: int = Field(256, ge=32, le=4096, description="Maximum long side of a training image, pixels.")
    rows_per_file: int = Field(2048, ge=1, description="Number of studies per Parquet file.")
