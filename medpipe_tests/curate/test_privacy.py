"""What is personal is replaced and counted; what is clinical stays as it is."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.privacy.identity import is_identity_number
from medpipe.curate.privacy.review import sample_review
from medpipe.curate.privacy.rules import RULES
from medpipe.curate.privacy.scrub import Scrubbed, scrub
from medpipe_tests.shared_data import shared_data

CHECKED = "11010519491231002X"
"""The example of GB 11643-1999."""


def scrubbed(text: str) -> str:
    return str(scrub(pl.Series([text])).texts.item())


def counts(*texts: str) -> dict[str, int]:
    found = scrub(pl.Series(texts)).counts
    return {name.split("/")[1]: number for name, number in found.items()}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("我的手机是13812345678，请回电。", "我的手机是[电话]，请回电。"),
        ("请联系+86 138 1234 5678咨询。", "请联系[电话]咨询。"),
        ("电话:+86-138-1234-5678", "电话:[电话]"),
        ("手机号 138 1234 5678", "手机号 [电话]"),
        ("联系人张医生（13912345678）", "联系人张医生（[电话]）"),
        ("13812345678/13912345678均可", "[电话]/[电话]均可"),
        ("手机１３８１２３４５６７８。", "手机[电话]。"),
        ("Tel13812345678", "Tel[PHONE]"),
        ("手机13812345678个人使用", "手机[电话]个人使用"),
        ("My phone is 138-1234-5678, call me.", "My phone is [PHONE], call me."),
        ("咨询电话：010-68515544转2073。", "咨询电话：[电话]。"),
        ("联系电话(0757)81181111、81181112", "联系电话[电话]、[电话]"),
        ("客服热线400-021-8850", "客服热线[电话]"),
        ("Phone: (555) 234-5678 or fax 555-234-5679", "Phone: [PHONE] or fax [PHONE]"),
        (f"身份证号{CHECKED}，女", "身份证号[身份证号]，女"),
        ("身份证110105 19491231 002x", "身份证[身份证号]"),
        ("身份证号码：110105491231002", "身份证号码：[身份证号]"),
        ("住院号：0012345，床号：12，男", "住院号：[病历号]，床号：[床号]，男"),
        ("门诊号MZ20230012 登记号:100234", "门诊号[病历号] 登记号:[病历号]"),
        ("患者ID：A-100234，CT号为34567", "患者ID：[病历号]，CT号为[病历号]"),
        ("12床患者夜间发热", "[床号]床患者夜间发热"),
        ("The patient (MRN: 00123456) was seen.", "The patient (MRN: [RECORD_NUMBER]) was seen."),
        (
            "Medical record number 445566, bed no. 7",
            "Medical record number [RECORD_NUMBER], bed no. [BED_NUMBER]",
        ),
        ("加微信yisheng123详聊", "加微信[微信]详聊"),
        ("微信号：zhang_doctor", "微信号：[微信]"),
        ("VX:wxid88888", "VX:[WECHAT]"),
        ("有事加我V：doc88888", "有事加我V：[微信]"),
        ("请加我的v:zhang_doctor", "请加我的v:[微信]"),
        ("患者李某，住院号 Z2023-0456，床位12", "患者李某，住院号 [病历号]，床位[床号]"),
        ("床位：3，男", "床位：[床号]，男"),
        ("主机 fe80::1ff:fe23:4567:890a 断开", "主机 [IP地址] 断开"),
        ("host 2a00:1450:4009:80b::200e", "host [IP_ADDRESS]"),
        ("我的QQ是123456789", "我的QQ是[QQ]"),
        ("ＱＱ群：664188。", "ＱＱ群：[QQ]。"),
        ("发到zhang.san@hospital.com.cn吧", "发到[邮箱]吧"),
        ("Write to jane_doe@gmail.com.", "Write to [EMAIL]."),
        ("来自IP：10.0.0.1的网友", "来自IP：[IP地址]的网友"),
        ("登录地址211.102.35.168", "登录地址[IP地址]"),
        ("IP 2001:db8::ff00:42:8329 was seen", "IP [IP_ADDRESS] was seen"),
        ("见https://a.com/ask?uid=88123&t=1。", "见[网址]。"),
        ("see https://a.com/user/88123/posts now", "see [URL] now"),
    ],
)
def test_personal_data_is_replaced_by_a_typed_placeholder(text: str, clean: str) -> None:
    assert scrubbed(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "HBV-DNA 13812345678 IU/ml，ALT 138 U/L",
        "电话联系，结果HBV-DNA 13812345678 IU/ml",
        "白细胞15000000000个/L，13812345678个",
        "拷贝数为13912345678copies/ml",
        "国药准字H13812345678",
        "条形码：6913812345678",
        "订单2013812345678901",
        "参考值 0.13812345678",
        "检验 138 1234 5678 90",
        "138 4500 2300",
        "PMID: 31234567，DOI: 10.1016/j.jacc.2013.13812345678",
        "doi:10.1000/13812345678",
        "身份证号110105194912310021",
        "编号110105194913310023",
        "EC 3.4.21.4，见5.1.2.3节",
        "版本 11.22.33.444",
        "2019-2020年，1.1.2.3",
        "登记号：NCT04331574，登记号ChiCTR2000029308",
        "https://doi.org/10.1056/NEJMoa2001017 https://pubmed.ncbi.nlm.nih.gov/31978945/?page=2",
        "PubMed ID号：31234567，临床试验登记号：20190012",
        "全院共有500床，新增30床",
        "微信公众号：健康时报",
        "方中加V：C段，加维生素B12",
        "请加我vitamin b12",
        "编制床位20，医护50",
        "开放床位12张，床位20张，床位1200",
        "床位 12个，床位80%",
        "std::abc::dead, ns::face::b00c, 12::30",
        "基因 a1b2::c3",
        "wechat accounts are popular",
        "随访电话中共纳入12345678人",
        "QQ plot of 12 values",
        "mutations such as rs13812345678 and BRCA1",
        "拨打120或热线12320",
        "a@b, @-@, 5@10 mg, help@example.com",
        "住院号：\n床号：",
        "12:30:45服药，比例1:2:3:4:5:6:7:8",
        "抽血时间2023-11-12 13:15:16",
        "The patient no. 3 had 2 admissions",
    ],
)
def test_clinical_numbers_and_references_stay(text: str) -> None:
    result = scrub(pl.Series([text]))
    assert result.texts.item() == text
    assert result.counts == {}
    assert result.review.is_empty()


numbers = st.integers(0, 99_999)
units = st.sampled_from(
    ["mg", "g", "ml", "μg/kg", "mmol/L", "IU", "%", "℃", "mmHg", "×10^9/L", "次/分", "岁", "cm"]
)
dates = st.dates(date(1950, 1, 1), date(2030, 12, 31))
clinical = st.one_of(
    st.builds(lambda n, u: f"{n}{u}", numbers, units),
    st.builds(lambda n, d, u: f"{n}.{d}{u}", numbers, st.integers(0, 999), units),
    st.builds(lambda low, high, u: f"{low}-{high}{u}", numbers, numbers, units),
    st.builds(lambda n, d: f"{n}:{d}", st.integers(1, 999), st.integers(1, 9999)),
    st.builds(lambda n, d: f"{n}/{d}", st.integers(1, 300), st.integers(1, 300)),
    st.builds(lambda d: d.strftime("%Y-%m-%d"), dates),
    st.builds(lambda d: d.strftime("%Y年%m月%d日"), dates),
    st.builds(lambda d: d.strftime("%Y%m%d"), dates),
    st.from_regex(r"[A-Z][0-9]{2}\.[0-9]{1,3}", fullmatch=True),
    st.from_regex(r"(?:BRCA|TP|CYP|IL|CD|miR-)[0-9]{1,4}[A-Z]?[0-9]?", fullmatch=True),
    st.from_regex(
        r"(?:PMID: ?[0-9]{7,8}|NCT[0-9]{8}|rs[0-9]{5,10}|10\.[0-9]{4}/[a-z]{3}\.[0-9]{4,11})", fullmatch=True
    ),
    st.lists(st.integers(100, 9999), min_size=2, max_size=5).map(lambda row: " ".join(map(str, row))),
    st.integers(10**11, 10**17).map(str),
)


@given(st.lists(clinical, min_size=1, max_size=8), st.sampled_from(["，", "；", " ", "。", "\n"]))
@settings(max_examples=150, deadline=None)
@example(["138 1234 5678"], "，")
@example(["10.0000/aaa.13000000001"], "，")
def test_clinical_values_stay_byte_for_byte(values: list[str], between: str) -> None:
    text = "患者男，" + between.join(values)
    assert scrubbed(text) == text


@given(
    st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    st.from_regex(r"[0-9]{1,9}", fullmatch=True),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_a_number_inside_a_longer_run_of_digits_is_no_phone(phone: str, more: str, is_before: bool) -> None:
    run = more + phone if is_before else phone + more
    # Another shape of number may be hidden in the run: 0 before a mobile number, an identity number.
    if re.fullmatch(r"0?1[3-9][0-9]{9}", run) or len(run) == 18:
        return
    assert scrubbed(f"标本{run}已送检") == f"标本{run}已送检"


phones = st.from_regex(r"1[3-9][0-9]{8}[1-9]", fullmatch=True)
around = st.text(st.sampled_from("患者，。；发热三天 \nabc"), max_size=20)


@given(around, phones, around)
@settings(max_examples=80, deadline=None)
def test_a_mobile_number_is_found_wherever_it_stands(before: str, phone: str, after: str) -> None:
    before, after = before.rstrip("abc"), after.lstrip("abc")
    assert scrubbed(f"{before}{phone}患{after}").startswith(before)
    assert phone not in scrubbed(f"{before}{phone}患{after}")


@given(
    st.sampled_from(["110105", "440524", "650102", "830000"]),
    dates,
    st.integers(0, 999),
    st.sampled_from("0123456789X"),
)
@settings(max_examples=80, deadline=None)
def test_only_a_valid_check_character_makes_an_identity_number(
    region: str, born: date, sequence: int, check: str
) -> None:
    number = f"{region}{born:%Y%m%d}{sequence:03}{check}"
    # GB 11643-1999: the sum of all digits by weight 2^(18 - place) mod 11, the last one too, leaves 1.
    digits = [10 if character == "X" else int(character) for character in number]
    total = sum(digit * 2 ** (17 - place) for place, digit in enumerate(digits))
    assert is_identity_number(number) == (total % 11 == 1)
    assert (number in scrubbed(f"证件{number}。")) == (total % 11 != 1)


def test_an_identity_number_needs_a_day_that_exists() -> None:
    assert is_identity_number(CHECKED)
    impossible = [f"11010519490230{n:03}{c}" for n in range(5) for c in "0123456789X"]
    assert not any(map(is_identity_number, impossible))


@example(["13812345678", "@qq.com", "住院号", "13812345678", "13812345678"])
@given(
    st.lists(
        st.sampled_from(["电话", "13812345678", " ", "微信：", "abc123456", "@qq.com", "住院号", "12", "。"]),
        max_size=12,
    )
)
@settings(max_examples=80, deadline=None)
def test_a_scrubbed_text_is_not_changed_again(pieces: list[str]) -> None:
    once = scrubbed("".join(pieces))
    assert scrubbed(once) == once


def test_replacements_are_counted_by_versioned_rule() -> None:
    texts = ["电话13812345678，13912345678", "QQ：664188", None, "", "没有"]
    result = scrub(pl.Series(texts))
    assert result.counts == {"privacy_v1/qq": 1, "privacy_v1/mobile": 2}
    assert result.texts.to_list() == ["电话[电话]，[电话]", "QQ：[QQ]", None, "", "没有"]


def test_texts_that_are_not_touched_are_the_same_strings() -> None:
    texts = pl.Series(["\x00\u202e乱码\ufffd𠀀", "电话13812345678", " ｆｕｌｌ　ｗｉｄｔｈ １２ "])
    result = scrub(texts)
    assert result.texts.to_list() == [texts[0], "电话[电话]", texts[2]]
    assert texts[1] == "电话13812345678"


def test_the_language_of_the_text_chooses_the_placeholder() -> None:
    english = "He asked in Chinese (你好) whether he could call 13812345678 in the evening."
    assert "[PHONE]" in scrubbed(english)
    assert "[电话]" in scrubbed("CT示肝内占位，AFP升高，请拨13812345678复诊")


def test_an_e_mail_in_a_link_is_replaced_once() -> None:
    assert counts("https://a.com/?email=jane@gmail.com") == {"url_with_identifier": 1}


def test_the_first_rule_that_claims_a_number_has_it() -> None:
    assert counts("微信13812345678") == {"wechat": 1}


def reviewed() -> Scrubbed:
    text = "张三，住院号00123456，电话13812345678，另一号码98765432109876，阿司匹林100mg每日一次。"
    return scrub(pl.Series([text]), ids=pl.Series(["f" * 32]))


def test_the_review_sample_shows_no_whole_number() -> None:
    review = reviewed().review
    assert review["rule"].to_list() == ["privacy_v1/mobile", "privacy_v1/record_number"]
    assert review["match"].to_list() == ["13*********", "00******"]
    assert review["record"].unique().to_list() == ["f" * 32]
    shown = "".join(review.select(pl.concat_str("match", "before", "after")).to_series())
    assert not re.search(r"[0-9]{4}", shown)
    assert review["before"].str.len_chars().max() <= 20
    assert review["after"].str.len_chars().max() <= 20


def test_the_review_sample_does_not_depend_on_how_batches_are_cut() -> None:
    texts = pl.Series([f"电话{13800000001 + 7 * n}。" for n in range(60)])
    ids = pl.Series([f"{n:032x}" for n in range(60)])
    config = PrivacyConfig(review_per_rule=5)
    whole = scrub(texts, ids=ids, config=config).review
    parts = [scrub(texts[n : n + 9], ids=ids[n : n + 9], config=config).review for n in range(0, 60, 9)]
    merged = sample_review(parts, per_rule=5)
    assert whole.height == 5
    assert merged.drop("position").equals(whole.drop("position"))
    assert sample_review([], per_rule=5).schema == whole.schema


def test_rules_can_be_chosen_and_unknown_ones_are_named() -> None:
    text = pl.Series(["电话13812345678 QQ664188"])
    only = PrivacyConfig(rules=("privacy_v1/qq",))
    assert scrub(text, config=only).texts.item() == "电话13812345678 QQ[QQ]"
    assert scrub(text, config=PrivacyConfig(rules=())).texts.equals(text)
    with pytest.raises(ValidationError, match="no privacy rule privacy_v0/qq; there are privacy_v1/url"):
        PrivacyConfig(rules=("privacy_v0/qq",))


def test_long_texts_are_searched_beside_anchors_only() -> None:
    filler = "患者2019-2020年多次就诊，电话随访。" * 2000
    text = f"{filler}电话：0757-81181111。{filler}"
    assert scrubbed(text) == f"{filler}电话：[电话]。{filler}"
    assert scrubbed("1" * 500_000) == "1" * 500_000
    assert scrubbed("a" * 200_000 + "@") == "a" * 200_000 + "@"


@pytest.mark.parametrize(
    ("path", "column", "found"),
    [
        ("huatuo-26m/test_datasets.jsonl", "answers", {"landline": 2}),
        ("bentsao/llama_data.json", "output", {}),
        ("medmcqa/dev.json", "exp", {}),
        ("skywork/zh_news.jsonl", "text", {"wechat": 1, "landline": 2}),
    ],
)
def test_real_records_lose_nothing_but_contacts(path: str, column: str, found: dict[str, int]) -> None:
    lines = shared_data(path).read_text().splitlines()
    texts = pl.Series([json.loads(line)[column] for line in lines], dtype=pl.String)
    result = scrub(texts)
    assert {name.split("/")[1]: number for name, number in result.counts.items()} == found
    assert (result.texts != texts).sum() <= sum(found.values())


def test_planted_numbers_are_found_in_real_records_and_nothing_else_changes() -> None:
    lines = shared_data("huatuo-26m/test_datasets.jsonl").read_text().splitlines()
    originals = [json.loads(line)["questions"] for line in lines[:500]]
    originals = [text for text in originals if len(text) > 4 and not re.search("[0-9A-Za-z]", text)]
    planted = [f"{text[:3]}（{13_700_000_001 + 7 * n}）{text[3:]}" for n, text in enumerate(originals)]
    result = scrub(pl.Series(planted))
    assert result.texts.to_list() == [f"{text[:3]}（[电话]）{text[3:]}" for text in originals]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.key)
def test_every_rule_says_what_it_finds(rule: object) -> None:
    assert rule.description  # type: ignore[attr-defined]
    assert re.fullmatch(r"privacy_v[12]/[a-z0-9_]+", rule.name)  # type: ignore[attr-defined]


def test_births_of_a_century_are_covered() -> None:
    days = [date(1900, 1, 1) + timedelta(days=step) for step in range(0, 45_000, 997)]
    for day in days:
        body = f"110105{day:%Y%m%d}002"
        valid = [body + check for check in "0123456789X" if is_identity_number(body + check)]
        assert len(valid) == 1
