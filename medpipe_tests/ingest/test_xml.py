"""Articles in JATS and PubMed citations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medpipe.ingest import text_window, xml
from medpipe.normalize.markup import without_markup
from medpipe_tests.ingest.reading import read, reasons, write

KEYS = [
    "pmid", "pmcid", "doi", "title", "abstract", "sections", "journal", "year", "licence", "article_type",
]  # fmt: skip

JATS = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS v1.0//EN" "JATS-archivearticle1.dtd">
<article article-type="review-article" xmlns:xlink="http://www.w3.org/1999/xlink">
<front>
  <journal-meta><journal-title-group><journal-title>Ward Notes</journal-title></journal-title-group>
  </journal-meta>
  <article-meta>
    <article-id pub-id-type="pmid">17</article-id><article-id pub-id-type="pmc">42</article-id>
    <article-id pub-id-type="doi">10.1/x</article-id>
    <title-group><article-title>Iron in <italic>cough</italic><xref ref-type="fn" rid="f1"><sup>*</sup></xref>
      </article-title><subtitle>A look</subtitle></title-group>
    <contrib-group><contrib><name><surname>Nobody</surname></name></contrib></contrib-group>
    <pub-date><year>2012</year></pub-date><pub-date><year>2011</year></pub-date>
    <permissions><license xlink:href="https://example.org/by/4.0">
      <license-p>Free.</license-p></license>
    </permissions>
    <abstract><sec><title>Aim:</title><p>First.</p><p>Second.</p></sec>
      <sec><title>Result</title><p>Third.</p></sec></abstract>
    <abstract abstract-type="graphical"><p><graphic/>Picture.</p></abstract>
  </article-meta>
</front>
<body>
  <p>Opening.</p>
  <sec><label>1</label><title>Cells</title>
    <p>We saw 10<sup>9</sup>/L of CO<sub>2</sub> [<xref ref-type="bibr">3</xref>], as
      before<sup><xref ref-type="bibr">1</xref>,<xref ref-type="bibr">2</xref></sup>; P &lt; 0.05.
      <fn><p>No note.</p></fn></p>
    <p>Before the list:<list list-type="order"><list-item><label>1.</label><p>one</p></list-item>
      <list-item><p>two</p><p>more of two</p></list-item></list>after it.</p>
    <fig><label>Figure 1</label><caption><title>Growth.</title><p>Over time.</p></caption><graphic/></fig>
    <table-wrap><label>Table 1.</label><caption><p>Doses</p></caption><table><tr><td>cell</td></tr></table>
      <table-wrap-foot><fn><p>foot</p></fn></table-wrap-foot></table-wrap>
    <sec><title>Deeper</title><p>Deep.</p></sec>
    <sec><title>Nothing</title></sec>
  </sec>
  <sec sec-type="supplementary-material"><title>Files</title><p>Download.</p></sec>
</body>
<back><ack><p>Thanks.</p></ack><app-group><app><title>Appendix</title><p>Added.</p></app></app-group>
  <ref-list><ref><mixed-citation>Someone. 1999.</mixed-citation></ref></ref-list></back>
<floats-group><fig><label>Figure 2</label><caption><p>Floating.</p></caption></fig></floats-group>
</article>
"""

PUBMED = """<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID><Article>
<Journal><JournalIssue><PubDate><MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue>
<Title>Ward Notes</Title></Journal><ArticleTitle>On <i>cough</i>.</ArticleTitle>
<ELocationID EIdType="doi" ValidYN="Y">10.1/{pmid}</ELocationID>
<Abstract><AbstractText Label="AIM">Dose of 5 &#956;g.</AbstractText>
<AbstractText Label="UNLABELLED">{text}</AbstractText><CopyrightInformation>c</CopyrightInformation>
</Abstract>
<PublicationTypeList><PublicationType>Review</PublicationType><PublicationType>Letter</PublicationType>
</PublicationTypeList></Article></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pmc">PMC{pmid}</ArticleId></ArticleIdList>
<ReferenceList><Reference><ArticleIdList><ArticleId IdType="pmc">PMC0</ArticleId></ArticleIdList></Reference>
</ReferenceList></PubmedData></PubmedArticle>"""


def citation(pmid: int, text: str = "β-agonist") -> str:
    return PUBMED.format(pmid=pmid, text=text)


def article(body: str, attributes: str = "") -> str:
    return f"<article {attributes}><body><sec><title>T</title>{body}</sec></body></article>"


def paragraphs(folder: Path, body: str, attributes: str = "") -> Any:
    """Paragraphs of the only section of an article with this body."""
    values, broken = read(write(folder, "a.xml", article(body, attributes)))
    assert broken == []
    return values[0]["sections"][0]["text"] if values[0]["sections"] else []


class TestJats:
    def test_everything_a_reader_sees(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.nxml", JATS))
        assert broken == []
        assert list(values[0]) == KEYS
        assert values[0] == {
            "pmid": "17",
            "pmcid": "PMC42",
            "doi": "10.1/x",
            "title": "Iron in cough: A look",
            "abstract": ["Aim: First.", "Second.", "Result: Third."],
            "sections": [
                {"title": "", "text": ["Opening."], "sections": []},
                {
                    "title": "1 Cells",
                    "text": [
                        "We saw 10<sup>9</sup>/L of CO<sub>2</sub> [3], as before; P < 0.05.",
                        "Before the list:",
                        "1. one",
                        "- two",
                        "more of two",
                        "after it.",
                        "Figure 1. Growth. Over time.",
                        "Table 1. Doses",
                        "cell",
                    ],
                    "sections": [{"title": "Deeper", "text": ["Deep."], "sections": []}],
                },
                {"title": "Appendix", "text": ["Added."], "sections": []},
                {"title": "", "text": ["Figure 2. Floating."], "sections": []},
            ],
            "journal": "Ward Notes",
            "year": "2011",
            "licence": "https://example.org/by/4.0",
            "article_type": "review-article",
        }

    def test_the_normaliser_makes_characters_of_raised_text(self, tmp_path: Path) -> None:
        body = "<p>10<sup>9</sup>/L, CO<sub><italic>2</italic></sub>, P &lt;0.05, x&gt;y</p>"
        assert [without_markup(text) for text in paragraphs(tmp_path, body)] == ["10⁹/L, CO₂, P <0.05, x>y"]

    @pytest.mark.parametrize(
        ("markup", "text"),
        [
            ("a<xref ref-type='bibr'><sup>12</sup></xref>.", "a."),
            ("a<sup>[<xref ref-type='bibr'>1</xref>–<xref ref-type='bibr'>3</xref>]</sup>.", "a."),
            ("10<sup>9</sup><sup><xref ref-type='bibr'>1</xref></sup>", "10<sup>9</sup>"),
            ("see <xref ref-type='fig'>Figure 1<sup>a</sup></xref>", "see Figure 1<sup>a</sup>"),
            ("x<sup>2<xref ref-type='bibr'>1</xref></sup>", "x<sup>2</sup>"),
            ("s<sup>-1,<italic><xref ref-type='bibr'>7</xref></italic></sup>", "s<sup>-1</sup>"),
            ("β\n\t<sub>2</sub>-agonist", "β<sub>2</sub>-agonist"),
            ("with\n <sup>13</sup>C", "with <sup>13</sup>C"),
            ("one<break/>two", "one two"),
            ("5\u2009mg\u00a0x", "5\u2009mg\u00a0x"),
            ("<bold>A <ext-link>link</ext-link></bold><inline-graphic/>", "A link"),
            ("a <!-- no --><?pi x?>b", "a b"),
        ],
    )
    def test_running_text(self, tmp_path: Path, markup: str, text: str) -> None:
        assert paragraphs(tmp_path, f"<p>{markup}</p>") == [text]

    @pytest.mark.parametrize(
        ("formula", "text"),
        [
            (
                "<mml:math><mml:msup><mml:mn>10</mml:mn><mml:mn>9</mml:mn></mml:msup></mml:math>",
                "10<sup>9</sup>",
            ),
            (
                "<mml:math><mml:msub><mml:mi> x </mml:mi><mml:mi>i</mml:mi></mml:msub></mml:math>",
                "x<sub>i</sub>",
            ),
            (
                "<mml:math><mml:mfrac><mml:mn>1</mml:mn><mml:mrow><mml:mi>a</mml:mi><mml:mo>+</mml:mo>"
                "<mml:mi>b</mml:mi></mml:mrow></mml:mfrac></mml:math>",
                "1/(a+b)",
            ),
            ("<mml:math><mml:msqrt><mml:mi>n</mml:mi></mml:msqrt></mml:math>", "√(n)"),
            (
                r"<alternatives><tex-math>\documentclass{minimal}\begin{document}$10^9$\end{document}</tex-math>"
                "<mml:math><mml:mn>109</mml:mn></mml:math><graphic/></alternatives>",
                "$10^9$",
            ),
        ],
    )
    def test_formulas_keep_their_meaning(self, tmp_path: Path, formula: str, text: str) -> None:
        declared = 'xmlns:mml="http://www.w3.org/1998/Math/MathML"'
        body = f"<p>n = <inline-formula>{formula}</inline-formula>.</p>"
        (found,) = paragraphs(tmp_path, body, declared)
        assert found.replace(" .", ".") == f"n = {text}."

    def test_blocks(self, tmp_path: Path) -> None:
        body = (
            "<boxed-text><label>Box 1</label><caption><title>Points</title></caption><p>one</p></boxed-text>"
            "<def-list><def-item><term>RR</term><def><p>blood pressure</p></def></def-item></def-list>"
            "<disp-quote><p>said</p></disp-quote><fig><graphic/></fig><supplementary-material/>"
        )
        expected = ["Box 1", "Points", "one", "RR: blood pressure", "said"]
        assert paragraphs(tmp_path, body) == expected

    def test_text_between_and_behind_subsections_stays_where_it_is(self, tmp_path: Path) -> None:
        body = (
            "<p>one</p><sec><title>A</title><p>two</p></sec><p>three</p><p>four</p>"
            "<sec sec-type='supplementary-material'><p>no</p></sec>five<sec><title>B</title><p>six</p></sec>"
        )
        values, _ = read(write(tmp_path, "a.xml", f"<article><body>{body}<p>end</p></body></article>"))
        untitled = {"title": "", "sections": []}
        expected = [
            untitled | {"text": ["one"]},
            {"title": "A", "text": ["two"], "sections": []},
            untitled | {"text": ["three", "four"]},
            untitled | {"text": ["five"]},
            {"title": "B", "text": ["six"], "sections": []},
            untitled | {"text": ["end"]},
        ]
        assert values[0]["sections"] == expected
        values, _ = read(write(tmp_path, "b.xml", article(body)))
        assert values[0]["sections"] == [{"title": "T", "text": ["one"], "sections": expected[1:-1]}]

    @pytest.mark.parametrize(
        ("markup", "text"),
        [
            # Marks that the journal's style alone raises would become part of the number.
            ("12.5<xref ref-type='table-fn'>1</xref> mg", "12.5 mg"),
            ("12.5<xref ref-type='bibr'>18</xref>, 3.<xref ref-type='bibr'>7</xref>", "12.5, 3."),
            ("of 5%<xref ref-type='bibr'>3</xref>–<xref ref-type='bibr'>5</xref>", "of 5%–5"),
            ("rate<xref ref-type='fn'>a</xref> (U/mg)<xref ref-type='fn'>b</xref>", "rate (U/mg)"),
            ("<italic>n</italic><xref ref-type='table-fn'>a</xref>", "n"),
            ("LipC [<xref ref-type='bibr'>18</xref>,<xref ref-type='bibr'>19</xref>]", "LipC [18,19]"),
            ("LipC<xref ref-type='bibr'>[18]</xref>, see <xref ref-type='bibr'>4</xref>", "LipC[18], see 4"),
            (
                "by <xref ref-type='bibr'>Lee 2010</xref> and Wu<xref ref-type='fig'>2</xref>",
                "by Lee 2010 and Wu2",
            ),
        ],
    )
    def test_marks_are_no_digits(self, tmp_path: Path, markup: str, text: str) -> None:
        assert paragraphs(tmp_path, f"<p>{markup}</p>") == [text]

    def test_an_article_with_nothing_in_it(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.xml", "<article><front></front></article>"))
        assert broken == []
        assert values == [dict.fromkeys(KEYS) | {"title": "", "abstract": [], "sections": []}]


class TestPubMed:
    def test_citation(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.xml", f"<PubmedArticleSet>{citation(7)}</PubmedArticleSet>")
        values, broken = read(path)
        assert broken == []
        assert values == [
            {
                "pmid": "7",
                "pmcid": "PMC7",
                "doi": "10.1/7",
                "title": "On cough.",
                "abstract": ["AIM: Dose of 5 μg.", "β-agonist"],
                "sections": [],
                "journal": "Ward Notes",
                "year": "1998",
                "licence": None,
                "article_type": "Review; Letter",
            }
        ]

    def test_other_roots(self, tmp_path: Path) -> None:
        bare = (
            "<MedlineCitationSet><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>A</ArticleTitle></Article>"
            "</MedlineCitation></MedlineCitationSet>"
        )
        book = (
            "<PubmedBookArticle><BookDocument><PMID>2</PMID><Book><BookTitle>B</BookTitle><PubDate><Year>2001"
            "</Year></PubDate></Book><Abstract><AbstractText>T</AbstractText></Abstract></BookDocument>"
            "</PubmedBookArticle>"
        )
        values, broken = read(write(tmp_path, "a.xml", bare + book))
        assert broken == []
        assert [(value["pmid"], value["title"], value["year"]) for value in values] == [
            ("1", "A", None), ("2", "B", "2001")
        ]  # fmt: skip


class TestManyArticles:
    @pytest.mark.parametrize("chunk", [50, 1_000, 1 << 20])
    def test_a_broken_one_costs_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
    ) -> None:
        monkeypatch.setattr(text_window, "CHUNK_BYTES", chunk)
        pieces = [
            citation(1),
            citation(2).replace("</Article>", ""),
            citation(3).replace("</PubmedArticle>", ""),
            citation(4),
            citation(5, "<i>x</b>"),
            citation(6),
            citation(7)[:-30],
        ]
        values, broken = read(write(tmp_path, "a.xml", f"<PubmedArticleSet>{''.join(pieces)}"))
        assert [value["pmid"] for value in values] == ["1", "4", "6"]
        assert reasons(broken) == [(row, "broken_xml") for row in (1, 2, 4, 6)]
        assert "article 2: " in broken[0].detail
        assert broken[1].detail == "article 3 has no end </PubmedArticle>"

    def test_files_put_one_after_the_other(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.xml", JATS + JATS))
        assert ([value["pmid"] for value in values], broken) == (["17", "17"], [])

    def test_namespaces_declared_around_the_articles(self, tmp_path: Path) -> None:
        data = (
            '<s xmlns:j="urn:jats" xmlns:xlink="urn:l"><j:article j:article-type="x"><j:body><j:p>'
            '<j:ext-link xlink:href="u">T</j:ext-link></j:p></j:body></j:article></s>'
        )
        values, broken = read(write(tmp_path, "a.xml", data))
        assert broken == []
        assert values[0]["sections"] == [{"title": "", "text": ["T"], "sections": []}]

    def test_an_article_that_never_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xml, "MAX_ARTICLE_CHARACTERS", 2_000)
        monkeypatch.setattr(text_window, "CHUNK_BYTES", 500)
        data = f"<set><article>{'x' * 20_000}</article>{citation(1)}</set>"
        values, broken = read(write(tmp_path, "a.xml", data))
        assert [value["pmid"] for value in values] == ["1"]
        assert reasons(broken) == [(0, "broken_xml")]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "iso-8859-1"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = "dépôt" if encoding == "iso-8859-1" else "咳嗽"
        declared = encoding.removesuffix("-sig")
        data = f'<?xml version="1.0" encoding="{declared}"?>\n<s>{citation(1, text)}</s>'
        values, broken = read(write(tmp_path, "a.xml", data.replace("β", ""), encoding))
        assert broken == []
        assert values[0]["abstract"][1] == text

    def test_an_illegal_byte_costs_one_article(self, tmp_path: Path) -> None:
        data = f"<s>{citation(1)}{citation(2, '@')}{citation(3)}</s>".encode().replace(b"@", b"\xff")
        values, broken = read(write(tmp_path, "a.xml", data))
        assert [value["pmid"] for value in values] == ["1", "3"]
        assert reasons(broken) == [(1, "encoding")]
        assert f"offset {data.index(0xFF)} is illegal" in broken[0].detail

    @pytest.mark.parametrize("data", ["", "<PubmedArticleSet></PubmedArticleSet>", "<pmc-articleset/>"])
    def test_a_set_without_articles(self, tmp_path: Path, data: str) -> None:
        assert read(write(tmp_path, "a.xml", data)) == ([], [])

    def test_other_xml_is_one_broken_row(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.xml", "<rss><item>x</item></rss>"))
        assert values == []
        assert reasons(broken) == [(0, "broken_xml")]
        assert "no <article> and no <PubmedArticle>" in broken[0].detail


class TestHostileAndSloppy:
    def test_entities_that_explode_are_text(self, tmp_path: Path) -> None:
        laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
        data = f'<!DOCTYPE article [<!ENTITY l0 "lol">{laughs}]>' + article("<p>a &l29; b</p>")
        values, broken = read(write(tmp_path, "a.xml", data))
        assert broken == []
        assert values[0]["sections"][0]["text"] == ["a &l29; b"]

    def test_entities_that_open_files_are_text(self, tmp_path: Path) -> None:
        secret = write(tmp_path, "secret.txt", "the secret")
        data = f'<!DOCTYPE article [<!ENTITY x SYSTEM "{secret.as_uri()}">]>' + article("<p>a &x; b</p>")
        values, broken = read(write(tmp_path, "a.xml", data))
        assert broken == []
        assert values[0]["sections"][0]["text"] == ["a &x; b"]

    def test_a_document_type_within_an_article_breaks_it(self, tmp_path: Path) -> None:
        secret = write(tmp_path, "secret.txt", "the secret")
        inside = f'<!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
        values, broken = read(write(tmp_path, "a.xml", article(f"{inside}<p>&x;</p>")))
        assert values == []
        assert reasons(broken) == [(0, "broken_xml")]

    @pytest.mark.parametrize(
        ("markup", "text"),
        [
            ("a&mdash;b &alpha;&nbsp;x &NoSuch; &amp;lt;", "a—b α\u00a0x &NoSuch; &lt;"),
            ("R&D & more &", "R&D & more &"),
            ("P<0.05, x < y, <= 3", "P<0.05, x < y, <= 3"),
            ("a\x0bb\x00c&#11;d&#xFFFE;e&#128;", "abcde€"),
            ("&#956;g &#x3bc;g &lt;b&gt; &#60;", "μg μg <b> <"),
            ("<![CDATA[1 < 2 & <b>&mdash;</b>]]>", "1 < 2 & <b>&mdash;</b>"),
        ],
    )
    def test_what_is_no_xml_is_mended(self, tmp_path: Path, markup: str, text: str) -> None:
        assert paragraphs(tmp_path, f"<p>{markup}</p>") == [text]

    def test_deep_nesting_is_broken_and_no_crash(self, tmp_path: Path) -> None:
        deep = "<italic>" * 100_000 + "</italic>" * 100_000
        values, broken = read(write(tmp_path, "a.xml", f"<s>{article(f'<p>{deep}</p>')}{citation(1)}</s>"))
        assert [value["pmid"] for value in values] == ["1"]
        assert reasons(broken) == [(0, "broken_xml")]
        nested = "<sec>" * 200 + "<p>x</p>" + "</sec>" * 200
        assert len(read(write(tmp_path, "b.xml", article(nested)))[0]) == 1
