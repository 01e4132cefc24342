"""The commands, one module for each data type or subject. Every module here is discovered and registered."""
