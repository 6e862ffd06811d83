"""SQL over a store, read-only: views of its tables without report text and pixels, in a locked DuckDB.

`locked_duckdb` has the safeguards, also those of the predicates of slices; `views` says what each view holds,
`catalogue` makes them for the versions of a store, `query` runs one SELECT, `catalogue_file` writes a DuckDB file.
"""
