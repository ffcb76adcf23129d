"""Who may send what where: the smtpd_…_restrictions, and the valid recipients.

- ``policy``        answers the SMTP session's questions
- ``restriction``   what a restriction is; the registry that names are looked up in
- ``lists``         from a parameter's words to a list, and a list's verdict
- ``basic``, ``destinations``, ``names``   the restrictions themselves, a few lines each
- ``recipients``    which recipients of our domains exist

To add a restriction, write one function with ``@restriction("its_name")`` in the module that
fits.
"""
