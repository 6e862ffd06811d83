"""One HTML page about a model: its scores beside the floors, and studies with what stands behind each sentence.

`page` is what to show, `study_view` and `score_view` turn it into rows, `render` fills the template.
"""
