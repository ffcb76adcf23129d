"""The gateway as a process of its system: lock, privileges, and its words to systemd."""
