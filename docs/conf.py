"""How Sphinx builds the pages: `make docs`."""

import prosona_jax

project = "prosona_jax"
author = "the prosona_jax authors"
release = version = prosona_jax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["results/*"]
html_theme = "furo"
html_title = f"prosona_jax {release}"
html_show_sphinx = html_show_copyright = False
myst_heading_anchors = 4  # links such as data.md#dicom-a-tcia-folder
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False
# Files of the project that pages link to and that are no pages.
suppress_warnings = ["myst.xref_missing"]
