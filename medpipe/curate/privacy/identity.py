"""Numbers that a state or a hospital gives a person: identity numbers, record numbers, beds."""

from __future__ import annotations

import re
from datetime import date

from medpipe.curate.privacy.rule import PERSONAL, Rule, before

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"
_PROVINCE = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91)"
_MONTH_AND_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"


def is_identity_number(number: str) -> bool:
    """Whether 18 characters are an identity number by GB 11643-1999: a date of birth and a valid check.

    The check character is that of ISO 7064, MOD 11-2.
    """
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True))
    return number[17].upper() == _CHECK_CHARACTERS[total % 11]


def _is_valid(match: re.Match[str]) -> bool:
    return is_identity_number(re.sub(r"[ -]", "", match[PERSONAL]))


IDENTITY_18 = Rule(
    key="identity_18",
    description="identity numbers of 18 characters with a valid date and check character (GB 11643-1999)",
    anchor=r"[0-9]{6}[ -]?[12][089][0-9]{2}",
    reach=(2, 40),
    pattern=re.compile(
        rf"(?<![0-9A-Za-z_.])(?P<personal>{_PROVINCE}[0-9]{{4}}(?P<space>[ -]?)(?:18|19|20)[0-9]{{2}}"
        rf"{_MONTH_AND_DAY}(?P=space)[0-9]{{3}}[0-9Xx])(?![0-9A-Za-z_]|[.][0-9])"
    ),
    accept=_is_valid,
    chinese="[身份证号]",
    english="[ID_NUMBER]",
)

_IDENTITY_WORDS = re.compile(
    r"(?i)(?:身份证(?:号码?|件号)?|身份号码|证件号码?|identity (?:card|number)|id card)[^。；;\n0-9]{0,12}\Z"
)

IDENTITY_15 = Rule(
    key="identity_15",
    description="old identity numbers of 15 digits (GB 11643-1989), behind a word such as 身份证",
    anchor="[0-9]{15}",
    reach=(0, 5),
    pattern=re.compile(
        rf"(?<![0-9A-Za-z_.])(?P<personal>{_PROVINCE}[0-9]{{4}}[0-9]{{2}}{_MONTH_AND_DAY}[0-9]{{3}})"
        r"(?![0-9A-Za-z_]|[.][0-9])"
    ),
    accept=lambda match: _IDENTITY_WORDS.search(before(match, 40)) is not None,
    chinese="[身份证号]",
    english="[ID_NUMBER]",
)

_RECORD_LABELS = (
    "(?:住院病历|住院|病历|病案|病例|门诊病历|门诊卡|门诊|就诊卡|就诊|诊疗卡|健康卡|急诊|登记|影像|放射|病理|超声|"
    "心电图?|检查|检验|标本|医保卡?|社保卡?|体检|患者|病人|病员|CT|MRI?|DR|X线|X光|ID)"
)
_RECORD_WORDS = f"{_RECORD_LABELS}(?:号|编号|ID)"
_ENGLISH_LABELS = (
    r"mrn|(?:medical|hospital|health) record (?:number|no\.?|#)|(?:hospital|chart) (?:number|no\.)|"
    r"(?:patient|admission) (?:id|identifier|number|no\.)"
)
_REGISTERED = re.compile(r"(?i)NCT|ChiCTR|ISRCTN|EUCTR|CTR|CRD|JPRN|ACTRN|国药")


_NOT_OF_A_PERSON = re.compile(
    r"(?i)(?:pubmed|gene|genbank|ncbi|omim|uniprot|pdb|snp|基因|文献|论文|试验|注册|著作权|药品|产品|器械)\s?\Z"
)


def _is_record_number(match: re.Match[str]) -> bool:
    """Long enough, and neither a trial's registration, nor an article's or a product's number, nor a date."""
    number = match[PERSONAL]
    if _NOT_OF_A_PERSON.search(match.string[max(0, match.start() - 12) : match.start()]):
        return False
    digits = sum(character.isdigit() for character in number)
    return (
        digits >= 3 and _REGISTERED.match(number) is None and not re.fullmatch(r"\d{4}-\d\d?-\d\d?", number)
    )


RECORD = Rule(
    key="record_number",
    description="numbers of hospital stays, visits, records, examinations and patients, behind their label",
    anchor=r"(?:号|ID|id|Id|iD)码?\s{0,2}(?:[:：#＃]|是|为|[Nn][Oo][.]?)?\s{0,2}[A-Za-z]{0,5}-?[0-9]",
    reach=(10, 50),
    pattern=re.compile(
        rf"(?i)(?<![a-z]){_RECORD_WORDS}码?\s{{0,2}}(?:[:：#＃]|是|为|NO\.?)?\s{{0,2}}"
        r"(?P<personal>[a-z]{0,5}-?[0-9][0-9a-z-]{2,23})(?![0-9a-z]|\.[0-9])"
    ),
    accept=_is_record_number,
    chinese="[病历号]",
    english="[RECORD_NUMBER]",
)

RECORD_ENGLISH = Rule(
    key="record_number_english",
    description="numbers of medical records, patients and admissions behind an English label such as MRN",
    anchor="(?i:mrn|record n|record #|hospital n|chart n|patient [in]|admission [in])",
    reach=(10, 60),
    pattern=re.compile(
        rf"(?i)(?<![a-z])(?:{_ENGLISH_LABELS})\s{{0,2}}(?:[:=#]|is\b)?\s{{0,2}}#?"
        r"(?P<personal>[a-z]{0,5}-?[0-9][0-9a-z-]{3,23})(?![0-9a-z]|\.[0-9])"
    ),
    accept=_is_record_number,
    chinese="[病历号]",
    english="[RECORD_NUMBER]",
)

BED = Rule(
    key="bed_number",
    version=2,
    description=(
        "beds: the number behind 床号, 床位号 or bed number, before 床患者, or behind 床位 as a field of "
        "its own"
    ),
    anchor="(?i:床号|床位|床患者|床病人|床病员|bed n)",
    reach=(5, 40),
    pattern=re.compile(
        r"(?i)(?:(?:床号|床位号)\s{0,2}(?:[:：#＃]|是|为)?\s{0,2}"
        # Elsewhere 床位 counts beds: 编制床位20，床位12张.
        r"|(?<![^，,。；;、\s|])床位\s{0,2}[:：]?\s{0,2}(?=[0-9]{1,2}(?:[，,。；;、\s|]|\Z))"
        r"|(?<![a-z])bed (?:number|no\.)\s?(?:[:=#]|is\b)?\s{0,2}#?"
        r"|(?<![0-9.])(?=[0-9]{1,3}床(?:患者|病人|病员)))"
        r"(?P<personal>[+加]?[a-z]?[0-9]{1,4}(?:[+-][0-9]{1,3})?)(?![0-9a-z]|\.[0-9]|[%％])"
    ),
    chinese="[床号]",
    english="[BED_NUMBER]",
)
