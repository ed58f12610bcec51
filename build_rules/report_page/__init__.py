"""The page that people look at: `build/report/index.html`, made of what the build and comparisons have left.

========================  ===========================================================================
`told.py`                 what the command tells of each model and target: the page finds out nothing else
`views.py`                what the templates show, decided: texts, numbers, pictures
`gather_model.py`         one model: from what is told and lies in the folder of its outputs to its view
`gather_index.py`         the table of all models
`hef_view.py`             streams and metadata of one executable
`comparison_view.py`      a comparison as tables, bars and histograms
`cut_picture.py`          the cut, drawn: where everything stands in the picture
`plots.py`                bars and histograms: from numbers to places in a picture
`jpeg.py`                 pictures that a page holds itself
`page_names.py`           how files of pages are called, and links between them
`render_pages.py`         views to HTML, by the templates beside them
`write_report.py`         the files, each whole or not at all
========================  ===========================================================================

Jinja2 (the extra `report`) makes the pages, with autoescape on, so that no name becomes markup. Charts are SVG in the
page itself: it follows light and dark by the page's own CSS variables, its text can be searched, selected and read
aloud, equal numbers give equal bytes, and no further library draws it.
"""
