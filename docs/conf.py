"""Sphinx settings of the documentation site: `make docs` builds it into `build/docs` without the network."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "TRRG"
author = "The TRRG authors"
copyright = "The TRRG authors. Apache-2.0"
# from the checkout that is documented, which need not be the installed one
release = version = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "trrg_reference"]
exclude_patterns = ["_ext", "_static"]
# "--store" is an option, not a dash
smartquotes = False

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# fields of a class are listed by autodoc, with their types
napoleon_use_ivar = True
napoleon_attr_annotations = False
add_module_names = False

html_theme = "furo"
html_title = f"TRRG {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
