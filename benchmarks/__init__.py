"""Speed, always as a ratio to Postfix in the same run, on the same disk, at the same durability.

``make bench`` runs all of it and writes docs/benchmarks.md; ``python -m benchmarks NAME…`` some.
"""
