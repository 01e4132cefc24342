"""Atomic slot migration: snapshot and tail of some slots to another primary, then one handover."""
