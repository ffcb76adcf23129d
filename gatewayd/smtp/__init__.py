"""The SMTP and LMTP engines: sans-I/O machines (grammar, session, dialogue) and thin edges."""
