"""Other tools, run in processes of their own."""
