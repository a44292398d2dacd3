"""Who works on which image."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.label.leases import Leases

IMAGES = [f"img_{i}" for i in range(5)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def leases(folder, clock=None, minutes=10) -> Leases:
    return Leases(folder / "leases.json", minutes, clock=clock or Clock())


def test_two_annotators_share_the_order_between_them(tmp_path):
    desk = leases(tmp_path)
    assert [desk.take(IMAGES, who) for who in ("a", "b", "a", "b", "a")] == IMAGES


def test_where_others_have_all_that_is_left_there_is_nothing(tmp_path):
    desk = leases(tmp_path)
    assert desk.take(IMAGES[:1], "a") == "img_0"
    assert desk.take(IMAGES[:1], "b") is None


def test_what_an_annotator_passed_over_comes_again_when_nothing_else_is_left(tmp_path):
    clock = Clock()
    desk = leases(tmp_path, clock)
    served = []
    for clock.now in range(7):
        served.append(desk.take(IMAGES[:3], "a"))
    assert served == ["img_0", "img_1", "img_2", "img_0", "img_1", "img_2", "img_0"]


def test_a_lease_ends_with_its_time_and_not_before(tmp_path):
    clock = Clock()
    desk = leases(tmp_path, clock)
    desk.take(IMAGES[:1], "a")
    clock.now = 10 * 60 - 1
    assert desk.take(IMAGES[:1], "b") is None
    clock.now = 10 * 60
    assert desk.take(IMAGES[:1], "b") == "img_0"


def test_an_image_that_was_given_back_is_free_at_once(tmp_path):
    desk = leases(tmp_path)
    desk.take(IMAGES, "a")
    desk.give_back("img_0")
    desk.give_back("never taken")
    assert desk.take(IMAGES, "b") == "img_0"


def test_a_restarted_server_remembers(tmp_path):
    leases(tmp_path).take(IMAGES, "a")
    assert leases(tmp_path).take(IMAGES, "b") == "img_1"


def test_annotators_without_a_name_never_share_an_image(tmp_path):
    desk = leases(tmp_path)
    assert [desk.take(IMAGES[:2], "") for _ in range(3)] == ["img_0", "img_1", None]


@given(asked=st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.integers(0, 300)), max_size=30))
def test_no_image_is_with_two_annotators_at_a_time(tmp_path_factory, asked):
    clock = Clock()
    desk = leases(tmp_path_factory.mktemp("desk"), clock, minutes=5)
    held: dict[str, tuple[str, float]] = {}
    for who, wait in asked:
        clock.now += wait
        image = desk.take(IMAGES, who)
        if image is None:
            continue
        owner, since = held.get(image, (who, -1e9))
        assert (owner == who and who) or clock.now - since >= 300
        held[image] = (who, clock.now)


def test_whoever_draws_for_long_keeps_the_image(tmp_path):
    clock = Clock()
    desk = leases(tmp_path, clock)
    desk.take(IMAGES[:1], "a")
    for clock.now in (9 * 60, 18 * 60):
        desk.renew("img_0")
    desk.renew("never taken")
    clock.now = 27 * 60
    assert desk.take(IMAGES[:1], "b") is None and leases(tmp_path, clock).take(IMAGES[:2], "b") == "img_1"
