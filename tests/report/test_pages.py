"""The page: whole, alone, escaped, and with a line for whatever is absent."""

from __future__ import annotations

import base64
import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.embedding import Embeddings
from bundle.report.blocks import Note, Section, Tile, Tiles
from bundle.report.pages import render_page, write_comparison_report, write_run_report, write_selection_report
from bundle.selection import select
from bundle.selection.comparison import compare
from bundle.selection.sufficiency import measure_sufficiency

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=alert(1)>"


class Page(html.parser.HTMLParser):
    """What a browser would find: tags with attributes, the text of the headings, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self._open = "", [""]
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_endtag(self, tag):  # noqa: ARG002
        self._open.append("")

    def handle_data(self, data):
        if self._open[-1] == "h2":
            self.headings.append(data)
        if self._open[-1] != "style":
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_whole_run_shows_every_section(run_folder: Path) -> None:
    path = write_run_report(run_folder)
    page = read(path)
    assert path == run_folder / "report.html"
    assert page.headings == [
        "What was run",
        "Self-supervised pretraining",
        "Selection",
        "Training",
        "Evaluation",
        "Inference",
    ]
    assert not [attributes for tag, attributes in page.tags if tag == "p" and attributes.get("class") == "absent"]
    assert "not a medical device" in page.text
    links = {link[1:] for link in page.attributes("href")}
    assert links <= set(page.attributes("id")) and len(links) == 6


def test_page_refers_to_nothing_outside_itself(run_folder: Path) -> None:
    text = write_run_report(run_folder).read_text(encoding="utf-8")
    page = Page(text)
    assert page.attributes("src") and all(source.startswith("data:image/") for source in page.attributes("src"))
    assert all(link.startswith("#") for link in page.attributes("href"))
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    style = " ".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert style and "url(" not in style and "@import" not in style
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_figures_refer_to_nothing_outside_themselves(run_folder: Path) -> None:
    page = read(write_run_report(run_folder))
    figures = [s.split(",", 1)[1] for s in page.attributes("src") if s.startswith("data:image/svg+xml")]
    assert len(figures) >= 7
    for figure in figures:
        drawing = base64.b64decode(figure).decode("utf-8")
        references = re.findall(r'(?:href|src)="([^"]*)"', drawing) + re.findall(r"url\(([^)]*)\)", drawing)
        assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in references)


def test_same_run_gives_the_same_page(run_folder: Path, tmp_path: Path) -> None:
    first = write_run_report(run_folder, tmp_path / "1.html").read_bytes()
    assert write_run_report(run_folder, tmp_path / "2.html").read_bytes() == first


@pytest.mark.parametrize(
    ("part", "section", "line"),
    [
        ("pretrain", "Self-supervised pretraining", "pretrain/history.csv is not there"),
        ("selection", "Selection", "selection/selection.csv is not there"),
        ("predictions", "Inference", "predictions/predictions.csv is not there"),
    ],
)
def test_absent_stage_leaves_one_line_and_no_link(run_folder: Path, part: str, section: str, line: str) -> None:
    shutil.rmtree(run_folder / part)
    page = read(write_run_report(run_folder))
    assert line in page.text
    assert f"{section} (absent)" in page.text
    absent = [tag for tag, attributes in page.tags if tag == "p" and attributes.get("class") == "absent"]
    assert len(absent) == 1
    assert len([link for link in page.attributes("href") if link.startswith("#")]) == 5


def test_absent_embeddings_leave_out_map_and_coverage_alone(run_folder: Path) -> None:
    shutil.rmtree(run_folder / "embeddings")
    text = read(write_run_report(run_folder)).text
    assert "No map: the embeddings are absent." in text
    assert "What to annotate, in this order (all 6)" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"policies": 3, "silhouette": 3, "clusters": 3, "dice": 3}'])
def test_broken_files_cost_no_other_part(run_folder: Path, content: str) -> None:
    for name in ("pretrain/policies.json", "selection/diagnostics.json", "warm_selected/evaluation/summary.json"):
        (run_folder / name).write_text(content, encoding="utf-8")
    page = read(write_run_report(run_folder))
    assert len(page.headings) == 6
    assert "What to annotate, in this order (all 6)" in page.text
    assert "warm start, selected labels" in page.text and "random weights, randomly drawn labels" in page.text


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no part of a run"):
        write_run_report(tmp_path)


def test_text_of_files_is_escaped(run_folder: Path) -> None:
    for path in (
        run_folder / "predictions" / "predictions.csv",
        run_folder / "selection" / "selection.csv",
    ):
        lines = path.read_text(encoding="utf-8").splitlines()
        column = lines[0].split(",").index("id")
        cells = lines[1].split(",")
        cells[column] = '"' + HOSTILE.replace('"', '""') + '"'
        path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n", encoding="utf-8")
    record = json.loads((run_folder / "pretrain" / "run.json").read_text(encoding="utf-8"))
    record["settings"][HOSTILE] = record["stage"] = HOSTILE
    (run_folder / "pretrain" / "run.json").write_text(json.dumps(record), encoding="utf-8")

    summary = json.loads((run_folder / "warm_selected/evaluation/summary.json").read_text(encoding="utf-8"))
    summary["cases"]["worst"][0]["id"] = HOSTILE
    summary["groups"] = [{"kind": "site", "group": HOSTILE, "images": 5, "dice": 0.5}]
    (run_folder / "warm_selected/evaluation/summary.json").write_text(json.dumps(summary), encoding="utf-8")

    text = write_run_report(run_folder).read_text(encoding="utf-8")
    page = Page(text)
    assert "<script" not in text
    # An image selected, a case, a group, a prediction, a stage, a setting and its value.
    assert page.text.count(HOSTILE) == 7
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes or tag == "script"]
    assert all(source.startswith("data:") for source in page.attributes("src"))


def test_every_kind_of_block_escapes_its_text() -> None:
    section = Section("key", HOSTILE, [Note(HOSTILE), Tiles([Tile(None, HOSTILE, HOSTILE)], HOSTILE, HOSTILE)])
    text = render_page(title=HOSTILE, lead=HOSTILE, sections=[section])
    assert "<script" not in text and "<img" not in text
    assert Page(text).text.count(HOSTILE) >= 7


def test_page_tells_no_path_and_no_file_that_was_set_aside(run_folder: Path) -> None:
    page = read(write_run_report(run_folder))
    assert "Jane_Doe" not in page.text and "truncated" in page.text
    assert str(run_folder.parent) not in page.text and "…/pretrain" in page.text


def test_scores_on_the_page_are_those_of_the_files(run_folder: Path) -> None:
    summary = json.loads((run_folder / "warm_selected/evaluation/summary.json").read_text(encoding="utf-8"))["dice"]
    text = read(write_run_report(run_folder)).text
    assert f"{summary['mean']:.3f} [{summary['low']:.3f}, {summary['high']:.3f}]" in text


def test_groups_stand_beside_each_other_run_by_run(run_folder: Path) -> None:
    assert "Mean Dice of groups of images" not in read(write_run_report(run_folder)).text, "no run tells any"
    rows = {"warm_selected": ("tan", "brown"), "scratch_random": ("tan",)}
    for place, (name, groups) in enumerate(rows.items()):
        path = run_folder / name / "evaluation/summary.json"
        told = [
            {"kind": "skin tone", "group": group, "images": 7 + at, "dice": 0.8 - 0.1 * place, "dice_low": 0.1 * at}
            | ({"dice_high": 0.9} if group == "tan" else {})
            for at, group in enumerate(groups)
        ]
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"groups": told}), encoding="utf-8")
    text = read(write_run_report(run_folder)).text  # of which the cells of a table follow each other
    assert "skin tone: tan70.800 [0.000, 0.900]0.700 [0.000, 0.900]" in text
    assert "skin tone: brown80.800–" in text


def test_selection_report_does_not_depend_on_the_order_of_the_rows(run_folder: Path, tmp_path: Path) -> None:
    embeddings = Embeddings.load(run_folder / "embeddings")
    paths = {e["id"]: Path(e["image"]) for e in load_datalist(run_folder / "datalist.json").section("pool")}
    order = np.random.default_rng(5).permutation(len(embeddings))
    shuffled = Embeddings(tuple(embeddings.ids[i] for i in order), np.asarray(embeddings.vectors)[order])
    pages = []
    for number, given in enumerate((embeddings, shuffled)):
        selection = select(given, strategy="ca", budget=5, seed=1, k=3)
        path = write_selection_report(
            tmp_path / f"{number}.html",
            selection=selection,
            embeddings=given,
            image_paths=paths,
            modality="dermoscopy",
        )
        pages.append(path.read_bytes())
        assert read(path).headings == ["Selection"]
    assert pages[0] == pages[1]


def test_selection_without_clusters_and_with_an_unreadable_image_still_has_its_page(
    run_folder: Path, tmp_path: Path
) -> None:
    embeddings = Embeddings.load(run_folder / "embeddings")
    paths = {e["id"]: Path(e["image"]) for e in load_datalist(run_folder / "datalist.json").section("pool")}
    selection = select(embeddings, strategy="random", budget=4, seed=1)
    paths[selection.ids[0]] = tmp_path / "absent.png"
    path = write_selection_report(
        tmp_path / "page.html", selection=selection, embeddings=embeddings, image_paths=paths, modality="dermoscopy"
    )
    page = read(path)
    assert "cannot be read" in page.text and "No cluster sizes" in page.text
    assert len([source for source in page.attributes("src") if source.startswith("data:image/jpeg")]) == 3


def test_coverage_noted_by_the_selection_is_shown_as_it_was_noted(run_folder: Path) -> None:
    file = run_folder / "selection" / "diagnostics.json"
    diagnostics = json.loads(file.read_text(encoding="utf-8"))
    embeddings = Embeddings.load(run_folder / "embeddings")
    found = measure_sufficiency(embeddings, embeddings.ids[:6], further=embeddings.ids[6:9]).summary()
    found["in_words"] = [HOSTILE]
    file.write_text(json.dumps({**diagnostics, "coverage": found}), encoding="utf-8")
    shutil.rmtree(run_folder / "embeddings")
    text = write_run_report(run_folder).read_text(encoding="utf-8")
    assert "Dashed: the images that would follow." in text and "No coverage" not in text
    assert Page(text).text.count(HOSTILE) == 1 and "<script" not in text


def test_comparison_page_shows_every_strategy_and_what_they_share(run_folder: Path, tmp_path: Path) -> None:
    embeddings = Embeddings.load(run_folder / "embeddings")
    paths = {e["id"]: Path(e["image"]) for e in load_datalist(run_folder / "datalist.json").section("pool")}
    made = [select(embeddings, strategy=name, budget=5, seed=1) for name in ("ca", "saal")]
    path = write_comparison_report(
        tmp_path / "page.html",
        comparison=compare(embeddings, made, seed=1),
        image_paths=paths,
        modality="dermoscopy",
    )
    page = read(path)
    assert page.headings == ["Coverage and typicality", "What they share", "The first images of each"]
    assert len([source for source in page.attributes("src") if source.startswith("data:image/jpeg")]) == 2 * 5
    shared = len(set(made[0].ids) & set(made[1].ids))
    assert f"{shared} ({shared / (10 - shared):.2f})" in page.text and "10 random draws" in page.text
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert all(source.startswith("data:image/") for source in page.attributes("src"))


def test_command_prints_the_path_last_and_keeps_an_older_page(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb("report", ["--run", str(run_folder)]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])
    assert page == run_folder / "report.html" and page.is_file()
    assert run_verb("report", ["--run", str(run_folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run_verb("report", ["--run", str(run_folder), "--overwrite"]) == 0
    assert run_verb("report", ["--run", str(run_folder / "nowhere")]) == 2
