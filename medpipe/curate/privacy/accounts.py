"""Accounts: WeChat, QQ, e-mail."""

from __future__ import annotations

import re

from medpipe.curate.privacy.rule import PERSONAL, Rule


def _is_wechat(match: re.Match[str]) -> bool:
    """Letters alone are an account only where a colon or a verb says so, and in Chinese."""
    has_digit = any(character.isdigit() for character in match[PERSONAL])
    return has_digit or (match["chinese"] is not None and match["sign"].strip() != "")


WECHAT = Rule(
    key="wechat",
    version=2,
    description="WeChat accounts behind a word for WeChat or 加我V; public accounts (公众号) stay",
    anchor="(?i:微信|微 信|薇信|威信|v信|加我v|加我的v|weix|wech|vx|wx)",
    reach=(0, 50),
    pattern=re.compile(
        r"(?i)(?:(?P<chinese>微 ?信|薇信|威信|v信|(?<=加我)v|(?<=加我的)v)|(?<![a-z])(?:weixin|wechat|vx|wx))"
        r"(?:号码?|账号|帐号|\s?id)?(?P<sign>\s?[:：是为—]\s?|\s?)"
        r"(?P<personal>[a-z][a-z0-9_-]{5,19}|[0-9]{5,11})(?![a-z0-9_.-])"
    ),
    accept=_is_wechat,
    chinese="[微信]",
    english="[WECHAT]",
)

QQ = Rule(
    key="qq",
    description="QQ accounts and groups, 5 to 12 digits behind QQ or 扣扣",
    anchor="(?i:qq)|扣扣|企鹅号",
    reach=(0, 40),
    pattern=re.compile(
        r"(?i)(?:(?<![a-z])qq|扣扣|企鹅号)(?:交流|咨询|讨论|患者|病友)?(?:群号?|号码?|账号|帐号)?"
        r"\s?(?:[:：]|是|为)?\s?(?P<personal>[1-9][0-9]{4,11})(?![0-9a-z_]|[.][0-9])"
    ),
    chinese="[QQ]",
    english="[QQ]",
)

_NOBODYS = re.compile(r"(?i)[@.]example\.(?:com|org|net)\Z|\.(?:example|invalid|test)\Z|\Agit@")

EMAIL = Rule(
    key="email",
    description="e-mail addresses, but for the domains of RFC 2606 (example.com) and the login of code hosts",
    anchor="@",
    reach=(64, 600),
    pattern=re.compile(
        r"(?<![A-Za-z0-9._%+-])(?P<personal>[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@"
        r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9])"
    ),
    accept=lambda match: _NOBODYS.search(match[PERSONAL]) is None,
    chinese="[邮箱]",
    english="[EMAIL]",
)
