"""Pretrained weights out of packages of the Python package index: `trrg weights` makes Hugging Face folders of them."""
