"""Filters: named, versioned rules that judge texts and never change them.

`judge` says of each text of a batch whether it is kept and whether it is refined, `measure` gives what was
measured, `RULES` names the rules, `FilterConfig` sets them.
"""

FILTERS_VERSION = "2"
"""Raise it when the same text and configuration give another verdict."""
