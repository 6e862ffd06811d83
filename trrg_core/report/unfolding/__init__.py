"""Forms: tables, check boxes, pick lists and blocks of labels, written out as plain statements."""
