"""Flips of one sentence: what each kind of flip rewrites, without the check by the parser."""
