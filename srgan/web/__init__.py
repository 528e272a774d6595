"""The local page: pictures and clips dropped in a browser come back larger.

In come requests of a browser on this machine; out go the page, progress and files. `server` puts the page and its addresses
together, `guard` refuses requests that are not the page's own, `jobs` keeps what was dropped in a private folder and runs
each job in a process of its own, `worker`, through the picture job or the clip job of `srgan.upscale`.
"""
