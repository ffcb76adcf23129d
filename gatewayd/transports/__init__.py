"""The transports that need no protocol, and the finding of those that plugins bring."""
