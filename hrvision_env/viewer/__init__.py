"""A trace as a page for looking at episodes, without a server or a network.

`write_viewer` makes a page that loads what is looked at, for any number of episodes; `write_page`
makes one file that holds everything. Every text that came from a model or a dataset is shown as
text (`textContent`), never as markup, and a content security policy lets nothing run but the page's
own script and what that script loads.
"""

from .folder import VIEWER_LIMIT, write_viewer
from .page import Written, read_assets
from .single import LIMIT, WITH_IMAGES, write_page

__all__ = [
    "LIMIT",
    "VIEWER_LIMIT",
    "WITH_IMAGES",
    "Written",
    "read_assets",
    "write_page",
    "write_viewer",
]
