"""Splits: patients stay whole, the seed decides and not the order, and a table is obeyed or refused."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.datalist import Datalist
from bundle.data.split import draw_groups, group_of, split_entries


def entry(identifier: str, *, group: str | None = None, labelled: bool = True) -> dict[str, str]:
    made = {"id": identifier, "image": f"{identifier}.png"}
    if group:
        made["group"] = group
    if labelled:
        made["label"] = f"{identifier}.png"
    return made


def ids(entries) -> set[str]:
    return {made["id"] for made in entries}


patients = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=2, max_size=40)


@given(patients=patients, fraction=st.floats(0.01, 0.9), validation=st.floats(0, 0.9), seed=st.integers(0, 2**40))
def test_no_patient_is_on_two_sides_and_nothing_is_lost(patients, fraction, validation, seed):
    entries = [
        entry(f"{patient}-{image}", group=f"p{patient}", labelled=labelled)
        for patient, (images, labelled) in enumerate(patients)
        for image in range(images)
    ]
    sections = split_entries(entries, test_fraction=fraction, validation_fraction=validation, seed=seed)
    assert ids(sections["pool"]) | ids(sections["test"]) == ids(entries)
    assert ids(sections["pool"]) & ids(sections["test"]) == set()
    assert ids(sections["training"]) | ids(sections["validation"]) == ids(e for e in sections["pool"] if "label" in e)
    for left, right in (("test", "pool"), ("training", "validation")):
        assert not {group_of(e) for e in sections[left]} & {group_of(e) for e in sections[right]}


@given(
    sizes=st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 9), max_size=30),
    fraction=st.floats(0, 0.99),
    seed=st.integers(0, 99),
)
def test_draw_is_near_what_is_wanted_and_never_everything(sizes, fraction, seed):
    drawn = draw_groups(sizes, fraction, seed=seed, stream="x")
    real = {group: size for group, size in sizes.items() if size}
    assert drawn <= set(real)
    assert len(drawn) < max(len(real), 1)
    if len(real) > 1 and len(drawn) < len(real) - 1:
        wanted = max(round(fraction * sum(real.values())), int(fraction > 0))
        assert abs(sum(real[group] for group in drawn) - wanted) <= max(real.values())


def test_order_of_the_files_does_not_matter_and_the_seed_does():
    entries = [entry(f"{number:03}") for number in range(200)]
    first = split_entries(entries, test_fraction=0.2, seed=1)
    shuffled = random.Random(0).sample(entries, len(entries))
    again = split_entries(shuffled, test_fraction=0.2, seed=1)
    assert {name: ids(section) for name, section in first.items()} == {
        name: ids(section) for name, section in again.items()
    }
    assert ids(first["test"]) != ids(split_entries(entries, test_fraction=0.2, seed=2)["test"])
    assert len(first["test"]) == 40
    assert len(first["validation"]) == 16


def test_one_image_more_moves_few_others():
    entries = [entry(f"{number:03}") for number in range(200)]
    before = split_entries(entries, test_fraction=0.2)
    after = split_entries([*entries, entry("new")], test_fraction=0.2)
    assert len(ids(before["test"]) ^ ids(after["test"])) <= 2


def test_labels_that_come_later_leave_the_test_as_it_was():
    before = [entry(f"{number:03}", labelled=number % 7 == 0) for number in range(200)]
    after = [entry(f"{number:03}", labelled=number % 2 == 0) for number in range(200)]
    assert ids(split_entries(before, test_fraction=0.2)["test"]) == ids(split_entries(after, test_fraction=0.2)["test"])


@pytest.mark.parametrize(("labelled", "validation"), [(0, 0), (4, 0), (10, 1), (40, 4)])
def test_validation_is_a_tenth_and_at_least_one_from_ten_on(labelled, validation):
    entries = [entry(str(number), labelled=number < labelled) for number in range(50)]
    sections = split_entries(entries)
    assert len(sections["pool"]) == 50
    assert len(sections["validation"]) == validation
    assert len(sections["training"]) == labelled - validation


def test_without_masks_there_is_only_the_pool_and_what_was_asked_for():
    entries = [entry(str(number), labelled=False) for number in range(50)]
    counts = {name: len(section) for name, section in split_entries(entries, test_fraction=0.1).items()}
    assert counts == {"pool": 45, "training": 0, "validation": 0, "test": 5}


def write_table(tmp_path, text: str):
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_obeyed_with_harmless_columns_alone(tmp_path):
    table = write_table(
        tmp_path,
        "\ufeffid,site,split,patient name\na,one,Train,Doe\nb.png,one,pool,Doe\nc,two,validation,Roe\nd,two,test,Poe\n",
    )
    sections = split_entries([entry(name) for name in "abcde"], split_csv=table)
    assert {name: ids(section) for name, section in sections.items()} == {
        "pool": set("abce"),
        "training": {"a"},
        "validation": {"c"},
        "test": {"d"},
    }
    assert sections["training"][0] == {**entry("a"), "site": "one"}


def test_a_table_of_pool_and_test_leaves_the_rest_to_the_seed(tmp_path):
    rows = "".join(f"{number},{'test' if number < 10 else 'pool'}\n" for number in range(50))
    sections = split_entries(
        [entry(str(number)) for number in range(50)], split_csv=write_table(tmp_path, "id,split\n" + rows)
    )
    assert Counter({name: len(section) for name, section in sections.items()}) == {
        "pool": 40, "training": 36, "validation": 4, "test": 10,
    }  # fmt: skip


def test_an_image_without_a_label_is_never_training(tmp_path):
    table = write_table(tmp_path, "id,split\na,training\nb,training\n")
    sections = split_entries([entry("a"), entry("b", labelled=False)], split_csv=table)
    assert ids(sections["training"]) == {"a"}
    assert ids(sections["pool"]) == {"a", "b"}


def test_a_table_may_use_file_names_for_images_in_folders(tmp_path):
    entries = [entry("x/a"), entry("y/b"), {"id": "0f", "image": "z/1.2.3.dcm"}]
    sections = split_entries(entries, split_csv=write_table(tmp_path, "id,split\na,test\n1.2.3,test\n"))
    assert ids(sections["test"]) == {"x/a", "0f"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,side\na,test\n", "columns id and split"),
        ("", "columns id and split"),
        ("id,split\na,exam\n", "line 2: split must be one of"),
        ("id,split\na,test\na.png,pool\n", "two splits"),
        ("id,split\nq,test\n", "none of its 1 ids"),
        ("id,split\na,test\nb,pool\n", "one patient"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, message):
    entries = [entry("a", group="p"), entry("b", group="p"), entry("c", group="q")]
    with pytest.raises(ValueError, match=message):
        split_entries(entries, split_csv=write_table(tmp_path, text))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        split_entries([entry("a")], test_fraction=fraction)
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        split_entries([entry("a")], validation_fraction=fraction)


def test_a_column_of_groups_keeps_images_together_under_their_pseudonym(tmp_path):
    rows = "".join(f"{i},{'test' if i < 2 else 'val'},L{i // 2}\n" for i in range(6))
    table = write_table(tmp_path, "ID, Split ,group\n" + rows)
    entries = [entry(str(i)) for i in range(6)]
    found = split_entries(entries, split_csv=table, pseudonym=lambda one, group: f"{group} of {one['id'][0]}")
    assert {e["group"] for e in found["test"]} == {"L0 of 0", "L0 of 1"} and ids(found["validation"]) == set("2345")
    apart = write_table(tmp_path, "id,split,group\n0,test,L0\n1,pool,L0\n")
    with pytest.raises(ValueError, match="on two sides"):
        split_entries([entry("0"), entry("1")], split_csv=apart)


def test_a_column_that_may_tell_groups_and_a_table_in_another_encoding_are_spoken_of(tmp_path, caplog):
    table = write_table(tmp_path, "id,split,lesion_id\n0,test,L0\n1,pool,L0\n")
    split_entries([entry("0"), entry("1")], split_csv=table)
    assert "not kept together by lesion_id" in caplog.text
    table.write_bytes("id,split\nM\u00fcller,test\n".encode("latin-1"))
    with pytest.raises(ValueError, match="CSV table in UTF-8"):
        split_entries([entry("0")], split_csv=table)


def test_blanks_around_a_group_make_no_other_group_and_a_blank_cell_none(tmp_path):
    entries = [entry(name) for name in "abcd"]
    path = write_table(tmp_path, "id,split,group\na,test,P1\nb,training,P1 \nc,test, \nd,training, \n")
    with pytest.raises(ValueError, match="one patient"):
        split_entries(entries, split_csv=path)
    path = write_table(tmp_path, "id,split,group\na,test,P1\nb,test,\tP1 \nc,test, \nd,training, \n")
    sections = split_entries(entries, split_csv=path)
    assert {made["id"]: made.get("group") for made in sections["test"]} == {"a": "P1", "b": "P1", "c": None}
    path = write_table(tmp_path, "id,split,group\na,test,P1\na,test,P2\n")
    with pytest.raises(ValueError, match="two groups"):
        split_entries(entries, split_csv=path)


def test_what_a_table_holds_back_is_held_back_before_it_has_a_label(tmp_path):
    entries = [entry(name, labelled=False, group=group) for name, group in zip("abcde", "abbde", strict=True)]
    path = write_table(tmp_path, "id,split\na,test\nb,validation\nd,train\ne,train\n")
    sections = split_entries(entries, split_csv=path)
    assert ids(sections["validation"]) == {"b"} and sections["training"] == ()
    listed = Datalist("dermoscopy", tmp_path, None, sections)
    assert listed.candidates() == ["d", "e"], "nor is another image of that patient asked for"
    assert listed.section("validation", labelled=True) == []
