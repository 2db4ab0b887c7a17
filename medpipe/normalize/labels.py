"""The one table of the fields of multi-field records: order, labels, units, published spellings.

Misspelt keys that are really published (`prvent`, `sympton`, `cure_departmnt`, …) are aliases of one field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


FIELDS: tuple[Field, ...] = (
    Field(
        name="name", zh="名称", en="Name", aliases=("disease", "disease_name", "title", "疾病名称", "疾病")
    ),
    Field(
        name="desc", zh="描述", en="Description", aliases=("description", "intro", "overview", "简介", "概述")
    ),
    Field(name="category", zh="类别", en="Category", aliases=("categories", "分类")),
    Field(name="prevent", zh="预防", en="Prevention", aliases=("prvent", "prevnt", "prevention", "预防措施")),
    Field(name="cause", zh="病因", en="Cause", aliases=("causes", "reason", "发病原因")),
    Field(
        name="symptom",
        zh="症状",
        en="Symptoms",
        aliases=("sympton", "symptoms", "symptons", "symtom", "symptom_detail", "临床表现"),
    ),
    Field(
        name="get_way", zh="传播方式", en="Transmission", aliases=("getway", "transmission_way", "传播途径")
    ),
    Field(
        name="acompany",
        zh="并发症",
        en="Complications",
        aliases=("accompany", "acompony", "complication", "complications", "has_complication"),
    ),
    Field(
        name="cure_department",
        zh="就诊科室",
        en="Department",
        aliases=(
            "cure_departmnt",
            "cure_deparment",
            "cure_dept",
            "department",
            "belongs_to_department",
            "科室",
        ),
    ),
    Field(
        name="cure_way",
        zh="治疗方式",
        en="Treatment",
        aliases=("treatment", "treatments", "treat_way", "治疗方法", "治疗"),
    ),
    Field(name="check", zh="检查", en="Examinations", aliases=("checks", "testsandprocedures", "检查项目")),
    Field(name="cure_lasttime", zh="治疗周期", en="Duration of treatment", aliases=("treat_cycle", "疗程")),
    Field(name="cured_prob", zh="治愈率", en="Cure rate", aliases=("cure_prob",), unit_zh="%", unit_en="%"),
    Field(name="get_prob", zh="发病率", en="Incidence", aliases=("disease_ratio",), unit_zh="%", unit_en="%"),
    Field(name="easy_get", zh="易感人群", en="People at risk", aliases=("susceptible_people", "多发人群")),
    Field(name="yibao_status", zh="医保", en="Covered by health insurance", aliases=("medical_insurance",)),
    Field(
        name="cost_money",
        zh="治疗费用",
        en="Cost of treatment",
        aliases=("treat_cost",),
        unit_zh="元",
        unit_en=" yuan",
    ),
    Field(name="common_drug", zh="常用药品", en="Common drugs", aliases=("commonmedications", "常用药物")),
    Field(
        name="recommand_drug",
        zh="推荐药品",
        en="Recommended drugs",
        aliases=("recommend_drug", "recommended_drug"),
    ),
    Field(name="drug_detail", zh="药品明细", en="Drug products", aliases=("drug_details",)),
    Field(name="do_eat", zh="宜食", en="Foods to eat", aliases=("good_food",)),
    Field(name="not_eat", zh="忌食", en="Foods to avoid", aliases=("avoid_food",)),
    Field(
        name="recommand_eat",
        zh="推荐食谱",
        en="Recommended dishes",
        aliases=("recommend_eat", "recommended_eat", "recommand_recipes"),
    ),
    Field(name="ingredient", zh="成分", en="Ingredients", aliases=("ingredients",)),
    Field(name="indication", zh="适应症", en="Indications", aliases=("indications", "功能主治")),
    Field(name="dosage", zh="用法用量", en="Dosage", aliases=("usage", "用量")),
    Field(
        name="adverse_reaction",
        zh="不良反应",
        en="Adverse reactions",
        aliases=("side_effect", "side_effects"),
    ),
    Field(
        name="contraindication", zh="禁忌", en="Contraindications", aliases=("contraindications", "禁忌症")
    ),
    Field(name="caution", zh="注意事项", en="Cautions", aliases=("cautions", "precautions")),
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


@lru_cache(maxsize=1)
def _by_key() -> Mapping[str, Field]:
    table: dict[str, Field] = {}
    for field in FIELDS:
        for key in (field.name, field.zh, field.en, *field.aliases):
            table.setdefault(key.casefold(), field)
    return table


def find_field(key: str) -> Field | None:
    """The field that a published key stands for, whatever its spelling and case; None if unknown."""
    return _by_key().get(key.strip().casefold())


def chosen_fields(names: tuple[str, ...]) -> tuple[Field, ...]:
    """The fields of a layout in its order; all of the table if it names none.

    A name that the table does not know is a field of its own, labelled by itself.
    """
    if not names:
        return FIELDS
    return tuple(find_field(name) or Field(name=name, zh=name, en=name.replace("_", " ")) for name in names)


def label(field: Field, language: Language) -> str:
    """A field's label in a language."""
    return field.zh if language is Language.ZH else field.en


def unit(field: Field, language: Language) -> str:
    """What follows a bare number of this field; empty where there is no unit."""
    return field.unit_zh if language is Language.ZH else field.unit_en
