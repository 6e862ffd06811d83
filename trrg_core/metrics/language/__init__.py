"""Language scores of whole corpora as functions of sums over pairs, so that a resample is one matrix product."""
