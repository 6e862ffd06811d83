"""Rules of the parser, as YAML a radiologist can read."""
