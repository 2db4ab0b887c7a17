"""The quality rule: what comes out refined, and which single fault makes a text raw."""

from __future__ import annotations

import polars as pl
import pytest

from medpipe.curate.tier import refined_v1, tier
from medpipe_tests.making import article

CLEAN = (
    "肺炎是由细菌、病毒等病原体引起的肺部感染。常见症状有发热、咳嗽、咳痰，重者可有呼吸困难。"
    "一般治疗包括休息与补液，抗感染药物应在医生指导下使用。"
)
DISEASE_RECORD = (
    "名称：过敏性鼻炎。描述：接触花粉或尘螨后反复打喷嚏、流清涕、鼻塞的鼻黏膜炎症。"
    "类别：疾病百科,五官科,耳鼻喉科。就诊科室：耳鼻喉科。治疗方式：药物治疗,避免接触过敏原"
)
ENGLISH = (
    "Asthma is a chronic disease of the airways. Inhaled corticosteroids reduce inflammation, and a "
    "short-acting bronchodilator relieves symptoms. Patients should carry a written plan."
)


def is_refined(text: str) -> bool:
    return bool(pl.select(refined_v1(pl.lit(text))).item())


@pytest.mark.parametrize(
    "text", [CLEAN, DISEASE_RECORD, ENGLISH, f"概述\n{CLEAN}\n{article(1)}\n{article(2)}"]
)
def test_clean_medical_text_is_refined(text: str) -> None:
    assert is_refined(text)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("short", "多喝热水，注意休息。"),
        ("replacement character", CLEAN + "\ufffd。"),
        ("web address", CLEAN + "详见http://example.org/a。"),
        ("e-mail", CLEAN + "来信 doctor@example.org 询问。"),
        ("mobile number", CLEAN + "电话13800000000。"),
        ("chat account", CLEAN + "加我微信：abc12345。"),
        ("hotline", CLEAN + "免费咨询热线全天开通。"),
        ("repeated lines", "\n".join(["头痛怎么办，吃什么药好。"] * 9)),
        ("few letters", "。" + "=-" * 40 + CLEAN[:30]),
        ("no end marks", "头痛 发热 咳嗽 乏力 " * 40),
    ],
)
def test_one_fault_makes_a_text_raw(fault: str, text: str) -> None:
    assert not is_refined(text), fault


def test_doses_and_numbers_are_no_telephone_numbers() -> None:
    assert is_refined(CLEAN + "编号20138000000001的样本白细胞为13.8×10^9/L。")


def test_the_tier_column_has_the_schema_type() -> None:
    tiers = pl.DataFrame({"text": [CLEAN, "短"]}).select(tier(pl.col("text"))).to_series()
    assert tiers.to_list() == ["refined", "raw"]
    assert tiers.dtype == pl.Enum(["raw", "refined"])
