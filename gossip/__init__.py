"""Sans-IO cluster core: messages, membership, failure detection, election, slot map. No clock, socket or RNG
inside.
"""
