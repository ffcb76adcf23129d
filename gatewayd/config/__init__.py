"""main.cf and master.cf: reading, expanding, checking; the table of all parameters.

- ``logical_lines``, ``main_cf``, ``master_cf``   the files' syntax, with line numbers
- ``expand``, ``values``                          ``$name`` and its relatives; typed values
- ``parameters``                                  the table: add a parameter there
- ``settings``                                    parameters by name, expanded and typed
- ``main_settings``                               main.cf alone, for commands
- ``check``, ``load``                             both files as a whole, every error named
- ``machine``, ``networks``                       defaults that come from the machine
- ``listing``, ``master_entry``, ``edit``         what postconf shows and changes
- ``document``                                    docs/parameters.md
"""
