"""Row codecs, one module per table: values of the domain to rows of the table, and back."""
