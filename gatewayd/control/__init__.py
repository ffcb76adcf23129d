"""The operator's API: HTTP and JSON over a Unix socket."""
