"""Fact tables (YAML) the sample is composed from."""
