"""English questions to a doctor with answers, composed from the facts of the guideline conditions."""

from __future__ import annotations

from medpipe.sample.guideline_facts import Condition, load_drugs
from medpipe.sample.guideline_phrases import PhraseBook, capitalised, listed
from medpipe.sample.writing import rng

ASKS = ("symptoms", "medicine", "life")
"""What a question is about."""

INSTRUCTION = "If you are a doctor, please answer the medical questions based on the patient's description."
"""The instruction that stands in every row."""

_TABLE = "guideline_dialogues.yaml"
_WOMEN = ("gynaecology", "obstetrics")
_RELATIVES = {"woman": ("mother", "sister", "wife", "aunt"), "man": ("father", "brother", "husband", "uncle")}
_SPANS = ("three days", "five days", "a week", "ten days", "two weeks", "a month", "six weeks", "half a year")


def dialogue(condition: Condition, ask: str, part: str) -> dict[str, str]:
    """Writes one question with its answer.

    Args:
        condition: the condition the question turns on.
        ask: one of `ASKS`.
        part: the split the row belongs to; another split gives another wording.

    Returns:
        A row with "instruction", "input" and "output".
    """
    random_ = rng("guideline-dialogue", part, condition.name, ask)
    book = PhraseBook(_TABLE, random_)
    ways = {"symptoms": _symptoms, "medicine": _medicine, "life": _life}
    question, answer = ways[ask](condition, book)
    return {
        "instruction": INSTRUCTION,
        "input": _sentences([_intro(condition, book), *question]),
        "output": _sentences([book.say("greet"), *answer, book.say("close")]),
    }


def _symptoms(condition: Condition, book: PhraseBook) -> tuple[list[str], list[str]]:
    lists = condition.lists
    first, second = book.some(lists["symptoms"], 2)
    question = [
        book.say("symptom_tell", span=_span(book), first=first, second=second),
        book.say("risk_tell", risk=book.some(lists["risk"], 1)[0]),
        book.say("symptom_ask"),
    ]
    answer = [
        book.say("symptom_answer", topic=condition.topic, **{"def": condition.definition}),
        book.say("test_answer", tests=listed(book.some(lists["tests"], 3))),
        book.say("step_answer", step=lists["steps"][0]),
        book.say("flag_answer", flags=listed(book.some(lists["flags"], 3))),
    ]
    return question, answer


def _medicine(condition: Condition, book: PhraseBook) -> tuple[list[str], list[str]]:
    drugs = load_drugs()
    places = [place for place, row in enumerate(condition.doses) if row.drug in drugs]
    row = condition.doses[places[book.number(0, len(places) - 1)] if places else 0]
    question = [book.say("drug_tell", topic=condition.topic, drug=row.drug), book.say("drug_ask")]
    answer = [book.say("dose_answer", dose=row.dose)]
    if row.drug in drugs:
        drug = drugs[row.drug]
        answer.insert(0, book.say("drug_answer", drug=row.drug, kind=drug.kind))
        answer.append(book.say("harm_answer", harm=drug.harm, check=drug.check))
    answer.append(book.say("review_answer", follow=book.some(condition.lists["follow"], 1)[0]))
    return question, answer


def _life(condition: Condition, book: PhraseBook) -> tuple[list[str], list[str]]:
    lists = condition.lists
    question = [book.say("life_tell", topic=condition.topic, span=_span(book)), book.say("life_ask")]
    answer = [
        book.some(lists["plain"], 1)[0],
        book.say("life_answer", prevent=listed(book.some(lists["prevent"], 3))),
        book.say("review_answer", follow=book.some(lists["follow"], 1)[0]),
        book.say("flag_answer", flags=listed(book.some(lists["flags"], 2))),
    ]
    return question, answer


def _intro(condition: Condition, book: PhraseBook) -> str:
    if condition.group == "paediatrics":
        return book.say("child_intro", age=book.number(7, 22))
    fixed = "woman" if condition.group in _WOMEN or "women" in condition.name else None
    fixed = "man" if "prostatic" in condition.name else fixed
    person = fixed or ("woman", "man")[book.number(0, 1)]
    low, high = _ages(condition)
    relative = book.some(_RELATIVES[person], 1)[0]
    return book.say("adult_intro", age=book.number(low, high), person=person, relative=relative)


def _ages(condition: Condition) -> tuple[int, int]:
    special = {"obstetrics": (22, 43), "gynaecology": (19, 44), "neurology": (41, 79)}
    if condition.name in ("Menopause", "Benign prostatic hyperplasia"):
        return 48, 63
    return special.get(condition.group, (24, 78))


def _span(book: PhraseBook) -> str:
    return book.some(_SPANS, 1)[0]


def _sentences(parts: list[str]) -> str:
    return " ".join(capitalised(part) for part in parts if part)
