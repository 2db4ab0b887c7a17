"""The one table of the fields of multi-field records: order, labels, units, published spellings.

Misspelt keys that are really published (`prvent`, `sympton`, `cure_departmnt`, …) are aliases of one field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from medpipe.records.kinds import Language


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a multi-field record."""

    name: str
    """Canonical name: the spelling that the nlp-guild records use."""
    zh: str
    """Label in Chinese."""
    en: str
    """Label in English."""
    aliases: tuple[str, ...] = ()
    """Other published keys, compared without case."""
    unit_zh: str = ""
    """What follows a bare number in Chinese."""
    unit_en: str = ""
    """What follows a bare number in English."""
    paragraphs: bool = False
    """Whether a list of this field holds headings and sentences, which stand on lines of their own."""


def _field(
    name: str,
    zh: str,
    en: str,
    *aliases: str,
    unit_zh: str = "",
    unit_en: str = "",
    paragraphs: bool = False,
) -> Field:
    return Field(
        name=name, zh=zh, en=en, aliases=aliases, unit_zh=unit_zh, unit_en=unit_en, paragraphs=paragraphs
    )


FIELDS: tuple[Field, ...] = (
    _field(
        "name", "名称", "Name", "disease", "disease_name", "title", "疾病名称", "疾病", "药品", "药品名称"
    ),
    _field("english_name", "英文名", "English name", "英文名称"),
    _field("other_name", "别名", "Also known as", "alias", "aliases", "synonyms", "又名"),
    _field("desc", "描述", "Description", "description", "intro", "overview", "简介", "概述"),
    _field("category", "类别", "Category", "categories", "分类", "药品类型"),
    _field("prevent", "预防", "Prevention", "prvent", "prevnt", "prevention", "prevent_info", "预防措施"),
    _field("cause", "病因", "Cause", "causes", "reason", "cause_info", "发病原因"),
    _field("symptom", "症状", "Symptoms", "sympton", "symptoms", "symptons", "symtom", "临床表现"),
    _field("symptom_detail", "症状说明", "Symptoms in detail", paragraphs=True),
    _field("get_way", "传播方式", "Transmission", "getway", "transmission_way", "传播途径"),
    _field(
        "acompany",
        "并发症",
        "Complications",
        "accompany",
        "acompony",
        "complication",
        "has_complication",
    ),
    _field(
        "cure_department",
        "就诊科室",
        "Department",
        "cure_departmnt",
        "cure_deparment",
        "cure_dept",
        "belongs_to_department",
        "科室",
    ),
    _field("cure_way", "治疗方式", "Treatment", "treatments", "treat_way", "治疗方法", "治疗"),
    _field("check", "检查", "Examinations", "checks", "testsandprocedures", "inspect_info", "检查项目"),
    _field("cure_lasttime", "治疗周期", "Duration of treatment", "treat_cycle", "疗程"),
    _field("cured_prob", "治愈率", "Cure rate", "cure_prob", unit_zh="%", unit_en="%"),
    _field("get_prob", "发病率", "Incidence", "disease_ratio", unit_zh="%", unit_en="%"),
    _field("easy_get", "易感人群", "People at risk", "susceptible_people", "多发人群"),
    _field("yibao_status", "医保", "Covered by health insurance", "medical_insurance"),
    _field("cost_money", "治疗费用", "Cost of treatment", "treat_cost", unit_zh="元", unit_en=" yuan"),
    _field("common_drug", "常用药品", "Common drugs", "commonmedications", "常用药物"),
    _field("recommand_drug", "推荐药品", "Recommended drugs", "recommend_drug", "recommended_drug"),
    _field("drug_detail", "药品明细", "Drug products", "drug_details"),
    _field("nursing", "护理", "Nursing", "nursing_info", "日常护理"),
    _field("good_diet", "饮食建议", "Dietary advice", "good_diet_text"),
    _field("avoid_diet", "饮食禁忌", "Dietary restrictions", "avoid_diet_text"),
    _field("do_eat", "宜食", "Foods to eat", "good_food"),
    _field("not_eat", "忌食", "Foods to avoid", "avoid_food"),
    _field(
        "recommand_eat",
        "推荐食谱",
        "Recommended dishes",
        "recommend_eat",
        "recommended_eat",
        "recommand_recipes",
    ),
    _field("dosage_form", "剂型", "Dosage form"),
    _field("specification", "规格", "Strength"),
    _field("ingredient", "成分", "Ingredients", "成份"),
    _field("appearance", "性状", "Appearance"),
    _field("part_used", "入药部位", "Part used"),
    _field("nature", "性味", "Nature and flavour"),
    _field("efficacy", "功效", "Efficacy"),
    _field(
        "indication",
        "适应症",
        "Indications",
        "indication",
        "药品适应症",
        "适应证",
        "功能主治",
        "主治",
    ),
    _field("indicated_disease", "适应病症", "Diseases treated", "医学专家标注的适应病症"),
    _field("dosage", "用法用量", "Dosage", "usage", "用量"),
    _field("adverse_reaction", "不良反应", "Adverse reactions", "side_effect", "side_effects"),
    _field("contraindication", "禁忌", "Contraindications", "contraindication", "禁忌症", "禁忌证"),
    _field("caution", "注意事项", "Cautions", "precautions"),
    _field("interaction", "药物相互作用", "Drug interactions"),
    _field("storage", "贮藏", "Storage"),
    _field("shelf_life", "有效期", "Shelf life"),
)


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a language writes clauses, lists, parts and truth values."""

    colon: str
    """Between a label and its value."""
    stop: str
    """After a clause that has no end mark of its own."""
    after_mark: str
    """After a clause that ends with an exclamation or question mark."""
    item: str
    """Between the items of a list."""
    part: str
    """Between the labelled parts of an object, and between objects."""
    true: str
    false: str


_WORDINGS = {
    Language.ZH: Wording(colon="：", stop="。", after_mark="", item=",", part="；", true="是", false="否"),
    Language.EN: Wording(colon=": ", stop=". ", after_mark=" ", item=", ", part="; ", true="yes", false="no"),
}


def wording(language: Language) -> Wording:
    """The wording of a language; English for all but Chinese."""
    return _WORDINGS.get(language, _WORDINGS[Language.EN])


def _folded(key: str) -> str:
    return key.strip().casefold().replace(" ", "_")


@lru_cache(maxsize=1)
def _by_key() -> Mapping[str, Field]:
    table: dict[str, Field] = {}
    for field in FIELDS:
        for key in (field.name, field.zh, field.en, *field.aliases):
            table.setdefault(_folded(key), field)
    return table


def find_field(key: str) -> Field | None:
    """The field that a published key stands for, whatever its spelling and case; None if unknown."""
    return _by_key().get(_folded(key))


def chosen_fields(names: Sequence[str] = (), labels: Mapping[str, str] | None = None) -> tuple[Field, ...]:
    """The fields of a layout in its order.

    Args:
        names: fields to use, in whatever spelling; all of the table if empty. A name that the table does not
            know is a field of its own, labelled by itself.
        labels: own labels by name. A name that is not among the others becomes a field after them.
    """
    labels = labels or {}
    chosen: dict[str, Field] = {}
    for key in (*(names or (field.name for field in FIELDS)), *labels):
        field = find_field(key) or Field(name=key, zh=key, en=key.replace("_", " "))
        if key in labels:
            field = replace(field, zh=labels[key], en=labels[key])
        elif field.name in chosen:
            continue
        chosen[field.name] = field
    return tuple(chosen.values())


def label(field: Field, language: Language) -> str:
    """A field's label in a language."""
    return field.zh if language is Language.ZH else field.en


def unit(field: Field, language: Language) -> str:
    """What follows a bare number of this field; empty where there is no unit."""
    return field.unit_zh if language is Language.ZH else field.unit_en
