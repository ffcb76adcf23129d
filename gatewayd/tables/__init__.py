"""Lookup tables, one file a type, behind one async interface."""
