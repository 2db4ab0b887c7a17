"""All privacy rules, in the order in which they claim what they find."""

from __future__ import annotations

from medpipe.curate.privacy.accounts import EMAIL, QQ, WECHAT
from medpipe.curate.privacy.identity import BED, IDENTITY_15, IDENTITY_18, RECORD, RECORD_ENGLISH
from medpipe.curate.privacy.network import IPV4, IPV6, URL
from medpipe.curate.privacy.rule import Rule
from medpipe.curate.privacy.telephone import LANDLINE, MOBILE

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        URL,
        EMAIL,
        IDENTITY_18,
        IDENTITY_15,
        WECHAT,
        QQ,
        RECORD,
        RECORD_ENGLISH,
        BED,
        MOBILE,
        LANDLINE,
        IPV4,
        IPV6,
    )
}
"""By versioned name; where two rules claim the same characters, the first one has them."""
