"""Re-slicing: another sample of the train studies, computed from their labels alone; no pixel is read or copied.

`spec` is the request, `constraints` its checked form. `limits`, `raking` and `rounding` are the steps of the
`solver`, which gives the repeats of every study; where they miss a target of a small slice, `whole_patients` finds
better ones. `sentence_weights` lowers the share of negated sentences. `plan` joins them into a slice with a report of
targets and achieved values, `shortfall` finds why targets are missed, `reasons` puts it into words, and `recipe` is
the stored form.
"""
