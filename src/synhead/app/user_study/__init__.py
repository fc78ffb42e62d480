"""What ``synhead study`` is made of: the videos, the plan of pages, the answers on disk, the web page, the results."""
