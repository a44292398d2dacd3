"""What was run: the data, the stages with time and seed, versions and hardware; and all of it at a glance."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from bundle.report.blocks import Absent, Block, Facts, Note, Section, Table, describe, duration, plain
from bundle.report.evaluation_part import EvaluationPart
from bundle.report.run_folder import RunFolder, finite, mapping
from bundle.report.style import run_title

SECTIONS = {  # of the datalist, and what each is for
    "pool": "looked at by pretraining and selection",
    "training": "learned from",
    "validation": "a part of the labelled pool that is not learned from",
    "test": "for the final score alone",
}


def glance(run: RunFolder) -> Facts | None:
    """The run in four figures; None where there is none of them."""
    items: list[tuple[str, str, str]] = []
    with contextlib.suppress(Absent):
        pool = run.json("datalist.json").get("pool", [])
        items.append((str(len(pool)), "images in the pool", run.modality_name))
    with contextlib.suppress(Absent):
        items.append((str(len(run.rows("selection/selection.csv"))), "selected to annotate", ""))
    best = EvaluationPart(run).best()
    if best:
        items.append((f"{best[1]:.3f}", "highest mean Dice of the runs", run_title(best[0])))
    seconds = [record["seconds"] for record in run.records().values() if finite(record.get("seconds"))]
    if seconds:
        items.append((duration(sum(seconds)), "time of all stages", ""))
    return Facts(items) if items else None


def what_was_run(run: RunFolder) -> Section:
    """Data, stages with time and seed, versions and hardware."""
    section = Section("run", "What was run")
    section.add(_data, run)
    section.add(_set_aside, run)
    section.add(_stages, run)
    return section


def _data(run: RunFolder) -> Iterator[Block]:
    datalist = run.json("datalist.json")
    rows = []
    for name, purpose in SECTIONS.items():
        entries = datalist.get(name, [])
        groups = {entry["group"] for entry in entries if entry.get("group")}
        labelled = sum("label" in entry for entry in entries)
        rows.append([name, purpose, str(len(entries)), str(labelled), str(len(groups)) if groups else "–"])
    yield Table(
        ["section", "what for", "images", "with a label", "patients"],
        rows,
        title=f"Data: {_describe_modality(run)}",
        text_columns=2,
        caption="Training and validation are parts of the pool; no image and no patient of the test is elsewhere.",
    )


def _set_aside(run: RunFolder) -> Block:
    rows = run.rows("quarantine.csv", may_be_empty=True)
    if not rows:
        return Note("No file was set aside: all that were found could be used.")
    # Reasons only: a path may tell a name.
    counts = Counter(row.get("reason", "").split(":")[0] or "no reason given" for row in rows)
    return Table(
        ["reason", "files"],
        [[reason, str(count)] for reason, count in counts.most_common()],
        title=f"Set aside: {len(rows)} files",
        caption="quarantine.csv names them.",
    )


def _stages(run: RunFolder) -> Iterator[Block]:
    records = run.records()
    if not records:
        raise Absent("No table of the stages: there is no run.json.")
    yield Table(
        ["stage", "folder", "started (UTC)", "time", "seed"],
        [
            [
                str(record.get("stage", "")),
                _place(place),
                str(record.get("started", ""))[:16].replace("T", " "),
                duration(record.get("seconds")),
                plain(record.get("seed")),
            ]
            for place, record in records.items()
        ],
        title="Stages",
        text_columns=2,
    )
    for title, kinds in (
        ("Settings, results and fingerprints of every stage", ("settings", "results", "timings", "fingerprints")),
        ("Versions and hardware", ("versions", "hardware")),
    ):
        rows = [
            [_place(place), kind, str(key), plain(value)]
            for place, record in records.items()
            for kind in kinds
            for key, value in mapping(record.get(kind)).items()
        ]
        if rows:
            yield Table(["folder", "", "name", "value"], rows, title=title, folded=True, text_columns=4)


def _place(folder: str) -> str:
    return "the run's own" if folder == "." else folder


def _describe_modality(run: RunFolder) -> str:
    from bundle.data.modality import load_modality

    try:
        return load_modality(run.modality).description if run.modality else "of unknown modality"
    except (ValueError, OSError) as error:
        return f"{run.modality_name} ({describe(error)})"
