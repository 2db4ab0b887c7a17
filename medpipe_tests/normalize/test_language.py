from __future__ import annotations

import polars as pl
import pytest

from medpipe.normalize.language import record_language
from medpipe.records.kinds import Language

CHINESE = "高血压患者应当限盐限酒，规律监测血压，按医嘱服药。"
ENGLISH = "Patients with hypertension should limit salt and measure their blood pressure."


@pytest.mark.parametrize(
    ("text", "declared", "expected"),
    [
        (CHINESE, "zh", "zh"),
        (CHINESE, "en", "zh"),
        (ENGLISH, "en", "en"),
        (ENGLISH, "zh", "en"),
        ("名称：Budd-Chiari综合征。描述：又称肝静脉阻塞综合征，由肝静脉或下腔静脉阻塞引起。", "zh", "zh"),
        ("CD4+ T细胞", "zh", "zh"),
        ("aspirin 100mg", "zh", "zh"),
        ("12345 67.8%", "en", "en"),
        ("高血圧の患者は塩分とアルコールをひかえて、血圧をはかりましょう。", "zh", "other"),
        ("Пациентам с гипертонией следует ограничить соль и измерять давление.", "zh", "other"),
        ("", "zh", "zh"),
    ],
)
def test_the_declared_language_stands_unless_clearly_another(text: str, declared: str, expected: str) -> None:
    frame = pl.DataFrame({"text": [text]})
    assert frame.select(record_language(pl.col("text"), Language(declared))).item() == expected
