"""What ``synhead web`` is made of: uploads, a queue of jobs, the HTTP API and the page that is its client."""
