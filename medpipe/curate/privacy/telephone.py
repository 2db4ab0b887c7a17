"""Telephone numbers: mobile numbers of mainland China anywhere, other numbers beside a word that says so."""

from __future__ import annotations

import re

from medpipe.curate.privacy.rule import PERSONAL, Rule, before, behind

_CHINESE_WORDS = "电话|手机|座机|固话|热线|传真|致电|来电|拨打|拨通|联系方式|短信"
_ENGLISH_WORDS = "telephones?|phones?|tel|mobile|cell|fax|hotline|call|dial|whatsapp"
_WORDS = rf"(?:{_CHINESE_WORDS}|(?<![A-Za-z])(?:{_ENGLISH_WORDS})(?![A-Za-z]))"
_SAME_CLAUSE = r"[^。；;！？!?\n]"
_NEAR = re.compile(rf"(?i){_WORDS}{_SAME_CLAUSE}{{0,20}}\Z")
_NEAR_MOBILE = re.compile(rf"(?i)(?:{_WORDS}|联系|咨询|微信|\bcontact){_SAME_CLAUSE}{{0,20}}\Z")
_RIGHT_BEFORE = re.compile(
    rf"(?i){_WORDS}(?:号码|号|咨询|预约| number)?\.?\s{{0,2}}[:：为是]?\s{{0,2}}"
    r"(?:[0-9+(（][0-9()（）—+ -]{5,20}\s?[、,，/;；或]\s?){0,4}\Z"
)

_UNIT = re.compile(
    r"(?i)\s?(?:(?:copies|copy|cells?|iu|u|[mμunk]?g|[mμun]?l|mmol|bp|kb)(?![a-z])|[%％‰×*^]|拷贝|"
    r"/\s?(?:m?l|μl|ul)(?![a-z]))"
)
_COUNTED = re.compile(r"\s?(?:个|元|单位|人|株|例|年|万|亿|克|毫)")
_OTHER_NUMBER = re.compile(
    r"(?i)(?:PMC?ID|DOI|ISBN|ISSN|文号|准字|批号|专利号|申请号|条码|条形码|登录号)\s?[:：]?\s?[a-z]?\Z"
)
_DOI = re.compile(r"10\.[0-9]{4,9}/[^\s，。；]*\Z")
_TELEPHONE_LETTERS = re.compile(r"(?i)(?<![a-z])(?:tel|phone|mobile|mob|cell|call|vx|wx|qq|v|t|m)\Z")
_NUMBER_AND_SLASH = re.compile(r"(?<![0-9])(?:1[3-9][0-9]{9}|[0-9]{7,8})/\Z")

_MOBILE = re.compile(
    r"(?<![0-9_])(?P<personal>(?:(?:[(（]\+?86[)）]|\+86|0086|86(?=[ -]))[ -]?)?0?(?:"
    r"1[3-9][0-9](?:[0-9]{8}|-[0-9]{4}-?[0-9]{4}|(?P<spaced>[ .·][0-9]{4}[ .·]?[0-9]{4}))"
    r"|1[3-9][0-9]{2}-(?:[0-9]{3}-[0-9]{4}|[0-9]{4}-[0-9]{3})))(?![0-9_]|[.-][0-9])"
)


def _is_mobile(match: re.Match[str]) -> bool:
    """Not a part of a longer number or name, and not a quantity."""
    left, right = before(match, 60), behind(match, 12)
    if re.search(r"[0-9][.:~-]\Z", left) or _OTHER_NUMBER.search(left) or _DOI.search(left):
        return False
    if re.search(r"[A-Za-z]\Z", left) and not _TELEPHONE_LETTERS.search(left):
        return False
    if re.search(r"[0-9A-Za-z.]/\Z", left) and not _NUMBER_AND_SLASH.search(left):
        return False
    if re.match(r"(?i)(?!qq|vx|wx)[a-z]", right) or _UNIT.match(right):
        return False
    if match[PERSONAL].endswith("000000"):
        return False
    has_country = match[PERSONAL].startswith(("+", "(", "（", "00", "86"))
    if has_country or _NEAR_MOBILE.search(left):
        return True
    return match["spaced"] is None and not _COUNTED.match(right)


MOBILE = Rule(
    key="mobile",
    description=(
        "mobile numbers of mainland China: 11 digits from 13 to 19, with or without +86 and hyphens; with "
        "spaces behind a word such as 电话 only; quantities and parts of longer numbers stay"
    ),
    anchor=r"1[3-9][0-9]{1,2}[-. ·]?[0-9]{3,4}[-. ·]?[0-9]{3,4}",
    reach=(8, 15),
    pattern=_MOBILE,
    accept=_is_mobile,
    chinese="[电话]",
    english="[PHONE]",
)

_LANDLINE = re.compile(
    r"(?<![0-9A-Za-z_.])(?P<personal>(?:(?P<area>"
    r"(?:\+?86[ -]?)?[(（]?0[1-9][0-9]{1,2}[)）]?\s?[-—–]{0,2}\s?[1-9][0-9]{2,3}[ -]?[0-9]{4}"
    r"|[48]00[ -]?[0-9]{3}[ -]?[0-9]{4}|[48]00-[0-9]{4}-[0-9]{3}"
    r"|(?:\+?1[-. ])?[(]?[2-9][0-9]{2}[)]?[-. ]{1,2}[2-9][0-9]{2}[-. ][0-9]{4}"
    r"|\+[1-9][0-9]{0,2}(?:[ -]?[(]?[0-9]{1,4}[)]?){2,5})"
    r"|[2-8][0-9]{2,3}-?[0-9]{4})(?:\s?(?:转|-|—|ext\.?)\s?[0-9]{1,5})?)(?![0-9A-Za-z_]|[.-][0-9])"
)


def _is_landline(match: re.Match[str]) -> bool:
    """A word for a telephone stands near where the number has an area code, else right before it."""
    right = behind(match, 12)
    if _UNIT.match(right):
        return False
    if _RIGHT_BEFORE.search(before(match, 120)):
        return True
    is_near = match["area"] is not None and _NEAR.search(before(match, 60)) is not None
    return is_near and not _COUNTED.match(right)


LANDLINE = Rule(
    key="landline",
    description=(
        "fixed lines, 400 and 800 numbers and numbers abroad, within 20 characters of a word such as 电话 or "
        "phone; 7 or 8 digits without an area code right behind it only"
    ),
    anchor=r"[0-9]{3}[-. ]?[0-9]{4}|[0-9]{4}-[0-9]{3}|[+][1-9][0-9 ()-]{5}",
    reach=(25, 30),
    pattern=_LANDLINE,
    accept=_is_landline,
    chinese="[电话]",
    english="[PHONE]",
)
