"""Finds what a crash leaves behind, and repairs what nobody alive is working on."""
