"""Errors of a potential on labelled structures."""
