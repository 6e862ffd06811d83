"""Exported studies -> the image folder of Hugging Face `datasets`: `SPLIT/metadata.parquet` and JPEG files beside it.

One row per radiograph, with the columns of its study; `file_name` is relative to the folder of the split.
"""

from trrg_core.exports.export_folder import ExportFolder
from trrg_core.exports.exported_study import ExportedStudy
from trrg_core.exports.parquet_files import ParquetFiles
from trrg_core.exports.study_values import image_values, study_values

METADATA = "metadata.parquet"
_STUDIES_PER_FOLDER = 1000


class ImageFolder:
    """Writes the images of each study as files, and their rows into the metadata of the split."""

    def __init__(self, folder: ExportFolder, metadata: ParquetFiles) -> None:
        self._folder, self._metadata = folder, metadata
        self._num_studies = 0

    def add(self, study: ExportedStudy) -> None:
        """Append a study with at least one image."""
        values = study_values(study)
        split, number = values["split"], self._num_studies
        rows = []
        for at, (image, of_image) in enumerate(zip(study.images, image_values(study), strict=True)):
            # a plain source orders the images of a study by their paths
            name = f"{number // _STUDIES_PER_FOLDER:05d}/{number:09d}-{at:03d}.jpg"
            self._folder.write_file(f"{split}/{name}", image.jpeg)
            rows.append({"file_name": name, **values, **of_image})
        self._metadata.add(split, rows)
        self._num_studies += 1

    def close(self) -> None:
        """Finish the metadata."""
        self._metadata.close()
