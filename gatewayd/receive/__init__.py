"""The way into the queue, for mail from clients, from this machine's programs, and from ourselves.

- ``intake``    messages from a protocol server: ``ports.Intake``
- ``headers``   what is done to the header (pure); ``trace`` makes the fields we add
- ``maildrop``  the file form in which the sendmail command leaves messages; ``pickup`` takes them
- ``internal``  the notices that we send
"""
