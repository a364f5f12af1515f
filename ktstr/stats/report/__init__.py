"""``doit report``: one run or one comparison as a single HTML file that needs nothing else.

``cells``, ``timeline``, ``distribution``, ``history``, ``facts`` and ``comparison`` choose and shape data; ``charts``
draws numbers as SVG; ``page`` fills the templates. Only ``page`` knows HTML, only ``charts`` SVG.
"""
