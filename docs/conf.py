"""The site: ``make docs``. Pages are Markdown as the repository shows them; Sphinx checks every link between them."""

project = "Attrition"
html_title = "Attrition"
extensions = ["myst_parser"]
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # of drawings in plain text
