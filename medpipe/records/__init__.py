"""The record kinds every room speaks of, their ids and content keys."""
