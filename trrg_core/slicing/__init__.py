"""Re-slicing: another sample of the same studies, by arithmetic on labels alone; no pixel is read or copied.

`spec` is what is asked, `label_table` what is known of every study and `label_files` where it is kept, `plan` the
answer with its asked-and-achieved table (`asks` -> `limits` -> `raking` -> `rounding`, led by `solving`),
`slice_rows` the Delta rows and how training reads through them; `distribution` and `drift` compare.
"""
