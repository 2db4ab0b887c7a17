"""The embedded sample: a small folder hub of medical text written for medpipe."""
