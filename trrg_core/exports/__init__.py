"""A version of `studies`, or a slice, in; a folder for other tools out: Parquet, Hugging Face images, WebDataset tars.

`exported_study` reads the studies one row group at a time, `parquet_files`, `image_folder` and `webdataset_tars` write
them, `data_card` describes them, `export_folder` gives the finished folder its name, and `export` joins these.
"""
