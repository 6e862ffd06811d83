"""Text generation: decoding, several drafts of a report, and the choice among them."""
