from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import FieldsLayout
from medpipe.normalize.extracted import Batch
from medpipe.normalize.field_values import number_text
from medpipe.normalize.fields import render_column
from medpipe.normalize.labels import FIELDS, chosen_fields, find_field
from medpipe.normalize.layouts.fields import read_fields
from medpipe.normalize.literals import literal_value
from medpipe.records.kinds import Language


def text_of(record: dict[str, Any], language: Language = Language.ZH, *fields: str) -> str | None:
    batch = Batch(rows=[0], values=[record])
    frame = read_fields(batch, FieldsLayout(fields=fields), language)
    return frame["text"].item() if frame.height else None


def value_of(value: Any, name: str = "symptom", language: Language = Language.ZH) -> str | None:
    field = find_field(name)
    assert field is not None
    return render_column([value], field, language).item()


def test_the_example_of_the_conventions() -> None:
    record = {
        "category": ["疾病百科", "内科", "呼吸内科"],
        "name": "肺泡蛋白质沉积症",
        "desc": "肺泡内沉积磷脂蛋白样物质的少见病。",
    }
    assert text_of(record) == (
        "名称：肺泡蛋白质沉积症。描述：肺泡内沉积磷脂蛋白样物质的少见病。类别：疾病百科,内科,呼吸内科"
    )
    assert text_of({**record, "desc": "…"}) == "名称：肺泡蛋白质沉积症。描述：…。类别：疾病百科,内科,呼吸内科"


@pytest.mark.parametrize("empty", ["None", "", None, [], ["", None], {"a": "nan"}, float("nan")])
def test_a_spelling_that_says_nothing_leaves_the_field_to_the_other(empty: Any) -> None:
    assert text_of({"symptom": empty, "sympton": "发热"}) == "症状：发热"


def test_zero_and_no_are_values() -> None:
    assert text_of({"yibao_status": False}) == "医保：否"
    assert text_of({"cost_money": 0}) == "治疗费用：0元"


def test_parts_of_an_object_with_one_label_are_all_kept() -> None:
    for nested in ({"简介": "甲", "概述": "乙"}, {"治疗": "甲", "治疗方法": "乙"}):
        text = value_of(nested, name="check") or ""
        assert "甲" in text and "乙" in text


def test_a_quantity_keeps_its_unit_beside_other_parts() -> None:
    text = value_of({"项目": "血常规", "value": 5, "unit": "mg"}, name="check")
    assert text is not None and "5mg" in text and "value" not in text


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        ("他说“休息。”", "他说“休息。”"),
        ("（见上。）", "（见上。）"),
        ("好。！", "好！"),
        ("多休息！", "多休息！"),
    ],
)
def test_end_marks_are_not_doubled(value: str, ending: str) -> None:
    assert text_of({"desc": value, "cause": "着凉"}) == f"描述：{ending}病因：着凉"


def test_english_labels_and_marks() -> None:
    record = {
        "disease": "Gout",
        "Symptoms": ["pain", "swelling"],
        "yibao_status": True,
        "desc": "Hurts a lot!",
    }
    assert text_of(record, Language.EN) == (
        "Name: Gout. Description: Hurts a lot! Symptoms: pain, swelling. Covered by health insurance: yes"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  头痛；\n", "头痛"),
        ("，头痛。。", "头痛"),
        ("休息。。多饮水。 。", "休息。多饮水"),
        ("-5℃左右", "-5℃左右"),
        (">7.0", ">7.0"),
        (["头痛", " 发热 ", "", None, "null"], "头痛,发热"),
        ([], None),
        ([[], {}, None], None),
        ([["头痛", "头晕"], ["发热"]], "头痛,头晕；发热"),
        ([1, 2.5, True], "1,2.5,是"),
        ({"成人": "0.5g", "儿童": ["0.1g", "0.2g"]}, "成人：0.5g；儿童：0.1g,0.2g"),
        ({"sympton": "咳嗽", "cure_departmnt": "内科"}, "症状：咳嗽；就诊科室：内科"),
        ([{"name": "甲药", "剂量": "5mg"}, {"name": "乙药"}], "名称：甲药；剂量：5mg；名称：乙药"),
        ({"value": 5, "unit": "mg"}, "5mg"),
        ({"$oid": "5bb578b6831b973a137e3ee7"}, None),
        ({"$numberInt": "5"}, "5"),
        ({"a": None, "b": []}, None),
        (True, "是"),
        (False, "否"),
        (0, "0"),
        (1e-07, "0.0000001"),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ("None", None),
        ("null", None),
        ("NaN", None),
        ("  nan ", None),
        ("None。", None),
        ("[]", None),
        ("<p>头痛<br>发热</p>", "头痛\n发热"),
        ("&nbsp;", None),
        ("['咳嗽', '发热']", "咳嗽,发热"),
        ('["咳嗽", "发热"]', "咳嗽,发热"),
        ("['咳嗽' '发热'\n '头痛']", "咳嗽,发热,头痛"),
        ("[['咳嗽', '发热'], ['头痛']]", "咳嗽,发热；头痛"),
        ("['0.50g', 0.50, None, nan, '']", "0.50g,0.50"),
        ("{'成人': '0.5g', '儿童': 0.10}", "成人：0.5g；儿童：0.10"),
        ('{"name": "甲药", "用法": ["口服"]}', "名称：甲药；用法：口服"),
        ("[]", None),
        ("{}", None),
        ("[None, nan]", None),
        ("['', 'None']", None),
        ("[0.5, 1.0]", "[0.5, 1.0]"),
        ("[12]", "[12]"),
        ("[重组]人胰岛素", "[重组]人胰岛素"),
        ("[用法]", "[用法]"),
        ("{x}", "{x}"),
        ("头痛, None, 发热", "头痛, 发热"),
        ("头痛；nan；null", "头痛"),
        ("None、头痛、NaN、发热", "头痛、发热"),
        ("头痛\nNone\n发热", "头痛\n发热"),
        ("头痛|[]|{}|发热", "头痛|发热"),
        ("Nan Madol, Nonea, nullius", "Nan Madol, Nonea, nullius"),
        ("none, or mild", "none, or mild"),
        (r"0\xe2\x80\x9312周, \xce\xbcg", "0–12周, μg"),
        (r"\xe2\x80周 C:\xce", r"\xe2\x80周 C:\xce"),
        (["皮肤发黄但巩膜...", "发热."], "皮肤发黄但巩膜...,发热"),
        ("剂量0.5~1.0g,≥7.0mmol/L、½片", "剂量0.5~1.0g,≥7.0mmol/L、½片"),
    ],
)
def test_the_rule_table(value: Any, expected: str | None) -> None:
    assert value_of(value) == expected


@pytest.mark.parametrize(
    ("name", "value", "language", "expected"),
    [
        ("cost_money", 5000, Language.ZH, "5000元"),
        ("cost_money", 5000, Language.EN, "5000 yuan"),
        ("cured_prob", 40.0, Language.ZH, "40.0%"),
        ("cured_prob", 0.4, Language.ZH, "0.4"),
        ("cured_prob", "约40%", Language.ZH, "约40%"),
        ("yibao_status", False, Language.EN, "no"),
        ("symptom", 3, Language.ZH, "3"),
    ],
)
def test_units_and_truth_values(name: str, value: Any, language: Language, expected: str) -> None:
    assert value_of(value, name, language) == expected


def test_strings_and_lists_and_oddities_in_one_column() -> None:
    field = find_field("symptom")
    assert field is not None
    values = ["头痛", ["发热", "咳嗽"], None, {"x": "y"}, 3, ["", "寒战。"]]
    mixed = render_column(values, field, Language.ZH).to_list()
    assert mixed == ["头痛", "发热,咳嗽", None, "x：y", "3", "寒战"]
    assert mixed == [render_column([value], field, Language.ZH).item() for value in values]


@pytest.mark.parametrize(
    ("published", "canonical"),
    [
        ("prvent", "prevent"),
        ("sympton", "symptom"),
        ("symptoms", "symptom"),
        ("cure_departmnt", "cure_department"),
        ("accompany", "acompany"),
        ("recommend_drug", "recommand_drug"),
        ("recommend_eat", "recommand_eat"),
        ("Disease", "name"),
        ("就诊科室", "cure_department"),
        ("cause_info", "cause"),
        ("inspect_info", "check"),
        ("TestsAndProcedures", "check"),
        ("commonMedications", "common_drug"),
        ("Treatments", "cure_way"),
        ("susceptible_people", "easy_get"),
        ("recommand_recipes", "recommand_eat"),
        ("药品适应症", "indication"),
        ("成份", "ingredient"),
        (" Side Effects ", "adverse_reaction"),
    ],
)
def test_published_spellings_are_one_field(published: str, canonical: str) -> None:
    field = find_field(published)
    assert field is not None
    assert field.name == canonical


def test_no_spelling_means_two_fields() -> None:
    owners: dict[str, set[str]] = {}
    for field in FIELDS:
        for key in (field.name, field.zh, field.en, *field.aliases):
            owners.setdefault(key.casefold(), set()).add(field.name)
    assert {key: names for key, names in owners.items() if len(names) > 1} == {}


def test_the_order_is_the_tables_or_the_layouts() -> None:
    order = [field.name for field in FIELDS]
    first = [
        "name", "desc", "category", "prevent", "cause", "symptom", "get_way", "acompany", "cure_department",
        "cure_way", "check",
    ]  # fmt: skip
    assert [name for name in order if name in first] == first
    assert order.index("check") < order.index("cure_lasttime")
    record = {"check": "CT", "name": "甲病", "cure_department": "内科", "note": "x"}
    assert text_of(record) == "名称：甲病。就诊科室：内科。检查：CT"
    assert text_of(record, Language.ZH, "check", "disease") == "检查：CT。名称：甲病"
    assert text_of(record, Language.ZH, "name", "note") == "名称：甲病。note：x"
    assert [field.name for field in chosen_fields(("sympton", "own"))] == ["symptom", "own"]


def test_own_labels_and_fields_that_the_table_does_not_know() -> None:
    fields = chosen_fields(
        ("symptoms", "own", "symptom"), {"own": "自有", "sympton": "表现", "also_own": "另有"}
    )
    assert [(f.name, f.zh, f.en) for f in fields] == [
        ("symptom", "表现", "表现"),
        ("own", "自有", "自有"),
        ("also_own", "另有", "另有"),
    ]
    assert chosen_fields() == FIELDS


def test_headings_and_sentences_stand_on_lines() -> None:
    detail = ["1、早期", "咳嗽、低热。", "", "None", "2、晚期", "咯血。"]
    assert value_of(detail, "symptom_detail") == "1、早期\n咳嗽、低热。\n2、晚期\n咯血"
    assert value_of("咯血。", "symptom_detail") == "咯血"
    assert value_of(str(detail), "symptom_detail") == value_of(detail, "symptom_detail")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500 + "]" * 500,
        "[" + "-" * 9_000 + "1, 'a']",
        "['a'" + "+1" * 50_000 + "]",
        "['a'" + ".x" * 50_000 + "]",
        "['a' for a in b]",
        "[open('x')]",
        "[f'{x}']",
        "{'a', 'b'}",
        "{**a}",
        r"['\N{x}']",
        "[" + "'a'," * 60_000 + "]",
    ],
)
def test_what_is_no_list_stays_as_it_is(text: str) -> None:
    assert literal_value(text) is None
    assert value_of(text) == text


def test_numbers_have_no_exponent() -> None:
    assert number_text(1.5e-5) == "0.000015"
    assert number_text(10**18) == "1" + "0" * 18


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(alphabet="头痛a0.5mg≥ 。！\n，None", max_size=12),
    st.sampled_from(["None", "null", "nan", "", "  ", "0.5g", "10×10⁹/L"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(alphabet="用量ab_0", max_size=4), inner, max_size=4),
    ),
    max_leaves=12,
)
records = st.dictionaries(
    st.sampled_from(["name", "desc", "symptom", "cured_prob", "cost_money", "check", "not_eat"]),
    values,
    max_size=6,
)


def strings_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in strings_in(item)]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (*strings_in(key), *strings_in(item))]
    return []


@settings(max_examples=100)
@given(record=records, language=st.sampled_from([Language.ZH, Language.EN]))
def test_no_json_shows_through(record: dict[str, Any], language: Language) -> None:
    text = text_of(record, language)
    if text is None:
        return
    given_text = "\n".join(strings_in(record))
    for artefact in ("[", "]", "{", "}", "None", "null", "nan", "inf"):
        assert text.count(artefact) <= given_text.count(artefact), artefact
    assert not re.search(r"。\s*。", text)
    assert not re.search(r"[！？!?]。", text) or re.search(r"[！？!?]\s*。", given_text)
    assert text == text.strip()
    assert not text.endswith("。")


doses = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "≥", "<", ">", "约"]),
    st.sampled_from(["0.5", "1.25", "10×10⁹", "½", "0.5~1.0", "7", "100"]),
    st.sampled_from(["mg", "g", "mmol/L", "%", "℃", "/L", "片"]),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(doses, st.text(alphabet="病'\"\\\\ ,a\n]}头1", max_size=8)), max_size=5))
def test_a_list_written_as_text_is_the_list(items: list[str]) -> None:
    written = (repr(items), json.dumps(items), json.dumps(items, ensure_ascii=False))
    assert [value_of(text) for text in written] == [value_of(items)] * 3


names = st.lists(st.sampled_from(["name", "desc", "symptom", "check"]), unique=True)


@settings(max_examples=100)
@given(
    names.flatmap(
        lambda chosen: st.tuples(*(st.tuples(st.just(n), st.lists(doses, max_size=4)) for n in chosen))
    )
)
def test_every_value_keeps_its_digits_and_units_in_order(pairs: tuple[tuple[str, list[str]], ...]) -> None:
    text = text_of(dict(pairs)) or ""
    order = [field.name for field in FIELDS]
    position = 0
    for _, items in sorted(pairs, key=lambda pair: order.index(pair[0])):
        for item in items:
            position = text.index(item, position) + len(item)


@settings(max_examples=100)
@given(st.lists(values, min_size=1, max_size=6), st.sampled_from(["symptom", "symptom_detail"]))
def test_a_column_renders_each_value_as_if_it_were_alone(column: list[Any], name: str) -> None:
    field = find_field(name)
    assert field is not None
    together = render_column(column, field, Language.ZH).to_list()
    assert together == [render_column([value], field, Language.ZH).item() for value in column]
