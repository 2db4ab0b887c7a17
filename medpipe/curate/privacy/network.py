"""Traces of the net: addresses of computers, and links that name a person or a session."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import parse_qsl, urlsplit

from medpipe.curate.privacy.rule import PERSONAL, Rule, before

_IP_WORDS = re.compile(r"(?i)(?<![a-z])ip(?:v[46])?(?![a-z])[^。；;\n0-9]{0,12}\Z")
_NUMBERED = re.compile(
    r"(?i)(?<![a-z])(?:ec|v|ver|version|section|chapter|版本|版|第|章|节|§)\s?[:：.]?\s?\Z"
)
_LEAST_DIGITS = 9
_LEAST_FIRST_PART = 11
_MIXED = re.compile("(?=.*[A-Fa-f])(?=.*[0-9])^.{3,4}$")
"""A group that is neither a number nor a word."""


def _is_ipv4(match: re.Match[str]) -> bool:
    """An address in range that a word announces, or that no enzyme, section or date looks like."""
    number = match[PERSONAL]
    try:
        IPv4Address(number)
    except AddressValueError:
        return False
    left = before(match, 30)
    if _IP_WORDS.search(left):
        return True
    is_long = sum(character.isdigit() for character in number) >= _LEAST_DIGITS
    return is_long and int(number.split(".")[0]) >= _LEAST_FIRST_PART and not _NUMBERED.search(left)


IPV4 = Rule(
    key="ipv4",
    description=(
        "addresses of version 4 behind the word IP, or with 9 digits and a first part of 11 or more, which "
        "numbers of enzymes and sections do not have"
    ),
    anchor=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    reach=(3, 8),
    pattern=re.compile(
        r"(?<![0-9A-Za-z_.-])(?P<personal>[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9A-Za-z_]|\.[0-9])"
    ),
    accept=_is_ipv4,
    chinese="[IP地址]",
    english="[IP_ADDRESS]",
)


def _is_ipv6(match: re.Match[str]) -> bool:
    number = match[PERSONAL]
    try:
        IPv6Address(number)
    except AddressValueError:
        return False
    if _IP_WORDS.search(before(match, 30)):
        return True
    groups = number.split(":")
    if "::" in number:
        return sum(_MIXED.search(group) is not None for group in groups) >= 2 and len(number) >= 16
    return len(groups) == 8 and any(re.search("[A-Fa-f]", group) for group in groups) and len(number) >= 20


IPV6 = Rule(
    key="ipv6",
    version=2,
    description=(
        "addresses of version 6 behind the word IP, with all eight groups and a letter, or shortened by `::` "
        "with two groups of letters and digits"
    ),
    anchor="[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]",
    reach=(5, 45),
    pattern=re.compile(
        r"(?<![0-9A-Za-z_.:])(?P<personal>(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4})(?![0-9A-Za-z_:])"
    ),
    accept=_is_ipv6,
    chinese="[IP地址]",
    english="[IP_ADDRESS]",
)

_PERSONAL_PARAMETER = re.compile(
    r"(?i)u(?:ser)?_?id|user_?name|uname|open_?id|union_?id|patient_?(?:id|no)|mobile|(?:tele?)?phone|tel|e?-?mail|"
    r"qq|wechat|weixin|wx|id_?card|real_?name|(?:access_?)?token|auth|(?:j|php)?sess(?:ion)?_?(?:id)?|sid|ticket"
)
_PERSONAL_PATH = re.compile(
    r"(?i)/(?:users?|u|uid|members?|patients?|people|profiles?|accounts?|space)[/-][^/?#]*[0-9]{3}"
    r"|/(?:profile|user|space|home|member)[a-z_]*\.\w{2,5}\?\w+=|;jsessionid="
)


def _names_a_person(match: re.Match[str]) -> bool:
    """A link with a login, with a parameter about a person or session, or to a person's page."""
    link = match[PERSONAL]
    try:
        parts = urlsplit(link if "://" in link else f"//{link}")
    except ValueError:  # such as a bracket that is no address
        return False
    if "@" in parts.netloc or _PERSONAL_PATH.search(link):
        return True
    pairs = parse_qsl(parts.query) + parse_qsl(parts.fragment.partition("?")[2])
    return any(_PERSONAL_PARAMETER.fullmatch(name) and value for name, value in pairs)


URL = Rule(
    key="url_with_identifier",
    description=(
        "links with a login, with a parameter about a person or a session (uid=, openid=, token=), or to a "
        "person's page (/user/12345); all other links stay, among them those to articles"
    ),
    anchor="(?i:://|www[.])",
    reach=(5, 2100),
    pattern=re.compile(
        r"(?i)(?P<personal>(?<![a-z0-9])(?:(?:https?|ftp)://|www\.)[a-z0-9\[][!#-&*-;=?-\[\]_a-z~@]{2,2000}(?<![.,;:!?]))"
    ),
    accept=_names_a_person,
    chinese="[网址]",
    english="[URL]",
)
