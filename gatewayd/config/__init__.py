"""main.cf and master.cf: reading, expanding, checking; the table of all parameters."""
