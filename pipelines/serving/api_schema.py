"""The JSON of the HTTP interface as pydantic models: only its description is made of them, the answers are not."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORM_OF_FILMS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["film"],
                    "properties": {
                        "film": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "JPEG, PNG or DICOM files, the films of one study.",
                        },
                        "view": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["", "PA", "AP", "LATERAL", "LL", "OTHER"]},
                            "description": "View positions: one for all films, or one for each in order. "
                            "Without them a DICOM file states its own, and that of others is unknown.",
                        },
                        "clue": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 200},
                            "description": "What you say of findings, one field for each, FINDING=WORDS: absent, or "
                            "present with a side (left, right, bilateral) and a degree (mild, moderate, severe), as in "
                            '"Pleural Effusion=left small". The report then follows it in place of the films.',
                        },
                        "id": {"type": "string", "description": "Id of the study; by default made from the films."},
                        "indication": {
                            "type": "string",
                            "description": "Why the study was made. Refused if the model does not read it.",
                        },
                        "prior": {
                            "type": "string",
                            "description": "Report of the earlier study. Refused if the model does not read it.",
                        },
                    },
                },
                "examples": {
                    "correction": {
                        "summary": "Two films, and what a person says of two findings",
                        "description": "curl -F film=@front.jpg -F view=PA -F film=@side.jpg -F view=LATERAL "
                        '-F "clue=Pleural Effusion=left small" -F clue=Pneumothorax=absent '
                        "127.0.0.1:8000/v1/reports",
                        "value": {
                            "film": ["front.jpg", "side.jpg"],
                            "view": ["PA", "LATERAL"],
                            "clue": ["Pleural Effusion=left small", "Pneumothorax=absent"],
                        },
                    }
                },
            }
        },
    }
}


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClueValue(_Described):
    """A disease clue that the report was written from."""

    finding: str
    probability: float = Field(ge=0, le=1)
    left: float | None = Field(
        description="Probability on the patient's left side; null where the study shows no side."
    )
    right: float | None = Field(description="The same of the patient's right side.")
    degrees: list[float] | None = Field(
        description="Probabilities of slight, moderate, severe if it is present; null where it is not graded."
    )
    given: Literal[True] | None = Field(
        default=None, description="True where a person gave the clue; left out where the model perceived it."
    )


class EvidenceValue(_Described):
    """A sentence and a finding of it, checked against the clues."""

    sentence: str
    finding: str | None = Field(description="Null for a sentence without a finding.")
    status: Literal["SUPPORTED", "WEAK", "UNSUPPORTED", "CONTRADICTED", "NOT_CHECKABLE"]
    probability: float | None = Field(
        description="Of the statement, with its side and degree; null where no clue knows it."
    )
    remarks: list[str] = Field(
        description='On the sentence, in words, such as "contradicts itself" or "prior unknown".'
    )


class FilmValue(_Described):
    """A film of the study, and whether the model read it: it takes a limited number of views."""

    name: str
    view: str
    is_read: bool


class UnusualFilmValue(_Described):
    """A film that is unlike the images of training."""

    name: str
    deviation: float = Field(description="How far it is from them; 1 is the limit of what is usual.")
    looks: str = Field(description='What it looks, such as "rotated by 90 degrees"; empty if unknown.')


class SetAsideValue(_Described):
    """An image that could not be read. Always empty over HTTP, where such a request is refused."""

    name: str
    reason: str


class StudyReport(_Described):
    """A generated report. Research software, not for clinical use."""

    id: str
    report: str | None
    clues: list[ClueValue]
    evidence: list[EvidenceValue]
    omitted: list[str] = Field(description="Findings that the clues show and the report does not mention.")
    overruled: list[str] = Field(
        description="Findings of which the draft contradicted its clues, so that it was revised."
    )
    abstained: list[str] = Field(description="Findings that the report says cannot be assessed.")
    unusual: list[UnusualFilmValue]
    withheld: bool = Field(
        description="No report was written, for an image far from those of training: `report` says so, and no finding."
    )
    unread_tokens: int = Field(
        description="Tokens at the end of indication and earlier report that the model has no room for."
    )
    generated: Literal[True]
    model: str
    films: list[FilmValue]
    set_aside: list[SetAsideValue]


class ErrorDetail(_Described):
    """What is wrong, and the name of the image that is to blame."""

    code: str
    message: str
    film: str | None = None


class ErrorBody(_Described):
    """An answer without a report."""

    error: ErrorDetail
