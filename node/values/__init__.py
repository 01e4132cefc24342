"""The values that a key can hold, each type in the module named after it.

A string is plain `bytes` (or a `bytearray` once it was changed in place: OBJECT ENCODING raw).
"""
