"""Drawn chest radiographs (PA): what an X-ray meets on its way is added up, as in a real one.

Every part of the body is a map of attenuation in one plane. A computed radiography plate answers to its logarithm,
so the sum itself, through a curve of contrast, is the picture: bone bright, air dark.

Places are given in the body's frame: x from -1 to 1 over the shoulders, 0 the spine, the patient's left at positive x
as PA pictures are shown; y from 0 at the top to 1 at the bottom of the field. Lengths across are in units of x.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from bundle.data.demo.noise import band_noise, fractal_noise
from bundle.data.demo.strokes import Stroke, coverage, text

SIDES = (256, 272, 288, 304, 320)  # rows or columns at size 256: few primes, so that FFTs are quick
BEND = np.linspace(0, 1, 5)  # how a vessel turns along its length
RIBS = 10  # pairs that cross the lungs


@dataclasses.dataclass(frozen=True)
class Chest:
    """The anatomy of one patient, the same in all their pictures; lengths in the body's frame.

    Attributes:
        apex: y of the lungs' tops.
        base: y of the top of the right and of the left diaphragm.
        width: half width of the rib cage.
        taper: how much narrower the cage is at the apex; 1 is a dome, 3 nearly a box.
        hilum: half width of the mediastinum.
        heart: x and y of the heart's centre, its half width and half height.
        aorta: radius of the aortic knob.
        shoulder: y of the shoulders.
        waist: half width of the trunk below the arms.
        clavicle: how far the clavicles fall from the shoulder to the sternum.
        rib_gap: distance of the ribs.
        rib_fall: how far a rib falls from its highest place to the side of the cage.
        bone: density of bone, 1 is usual.
        breast: density of the breasts' shadows, 0 is none.
        scoliosis: sideways bend of the spine.
        fat: thickness of soft tissue, 1 is usual.
    """

    apex: float
    base: tuple[float, float]
    width: float
    taper: float
    hilum: float
    heart: tuple[float, float, float, float]
    aorta: float
    shoulder: float
    waist: float
    clavicle: float
    rib_gap: float
    rib_fall: float
    bone: float
    breast: float
    scoliosis: float
    fat: float


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw a patient: two thirds ordinary, the others a child, a barrel chest, a large heart or a bent spine."""
    habit = int(rng.choice(5, p=[0.64, 0.09, 0.10, 0.10, 0.07]))
    child, barrel, big_heart, bent = (habit == i for i in range(1, 5))
    apex = rng.uniform(0.10, 0.17) + 0.05 * child
    base = rng.uniform(0.72, 0.80) - 0.08 * child + 0.07 * barrel - 0.03 * big_heart
    width = rng.uniform(0.60, 0.72) + 0.04 * barrel
    ratio = rng.uniform(0.38, 0.48) + 0.14 * big_heart + 0.08 * child - 0.07 * barrel  # heart to chest
    half = ratio * width
    fat = rng.uniform(0.7, 1.35) - 0.3 * child
    return Chest(
        apex=apex,
        base=(base, base + rng.uniform(0.0, 0.045)),
        width=width,
        taper=rng.uniform(1.9, 3.2),
        hilum=rng.uniform(0.10, 0.15) + 0.03 * child,
        heart=(rng.uniform(0.24, 0.36) * half, base - rng.uniform(0.10, 0.13), half, rng.uniform(0.15, 0.19)),
        aorta=rng.uniform(0.05, 0.10) * (not child),
        shoulder=apex + rng.uniform(0.0, 0.05) - 0.02 * barrel,
        waist=width + rng.uniform(0.10, 0.17) * fat,
        clavicle=rng.uniform(0.0, 0.11),
        rib_gap=(base - apex) / rng.uniform(7.4, 8.8),
        rib_fall=rng.uniform(0.18, 0.34) - 0.08 * barrel - 0.06 * child,
        bone=rng.uniform(0.7, 1.25) - 0.15 * child,
        breast=rng.uniform(0.15, 0.5) if rng.random() < 0.42 and not child else 0.0,
        scoliosis=rng.uniform(0.05, 0.10) * _side(rng) if bent else rng.normal(0, 0.008),
        fat=fat,
    )


def draw_radiograph(
    rng: np.random.Generator, *, chest: Chest | None = None, size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture and the true region of both lungs.

    The region is the lung field down to the diaphragm and up to the mediastinum and heart. What a shadow or an
    effusion hides of it stays part of the region, as the anatomy tells where it is; what the collimator cut off does
    not.

    Args:
        rng: source of every choice but the anatomy.
        chest: the patient; None draws one.
        size: scale in pixels; the sides are 1 to 1.25 times as long.

    Returns:
        Picture (H, W) float32 in [0, 1] with bright bone, and mask (H, W) bool, neither empty nor full.
    """
    chest = chest or draw_chest(rng)
    shape = (round(int(rng.choice(SIDES)) * size / 256), round(int(rng.choice(SIDES)) * size / 256))
    breath = rng.normal(0, 0.012)
    chest = dataclasses.replace(chest, base=(chest.base[0] + breath, chest.base[1] + breath))
    x, y = _frame(rng, shape)
    x = x - chest.scoliosis * np.sin(np.pi * np.clip(y, 0, 1)).astype(np.float32) * 0.7

    field, lung = _lungs(rng, x, y, chest)
    density = _trunk(rng, x, y, chest)
    body = np.clip(density / 0.5, 0, 1)
    density = density - 0.70 * _air(x, y, chest, field, lung)
    density += _mediastinum(x, y, chest) + _diaphragm(rng, x, y, chest) + _vessels(rng, x, y, chest, lung)
    density += chest.bone * (_ribs(x, y, chest, lung) + _spine(x, y, chest))
    density += chest.bone * (_clavicles(rng, x, y, chest) + _shoulders(rng, x, y, chest)) * body
    density += _breasts(rng, x, y, chest)
    if rng.random() < 0.45:
        density = _disease(rng, x, y, density, lung, field, chest)
    if rng.random() < 0.14:
        density += _devices(rng, x.shape)
    picture, beam = _exposed(rng, density)
    return picture, (lung > 0.5) & beam


def _frame(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel, (H, W) float32: the patient stands a little turned, off centre, nearer or farther."""
    turn = np.deg2rad(rng.normal(0, 2.2) + (rng.normal(0, 9) if rng.random() < 0.10 else 0.0))
    zoom = np.exp(rng.normal(0.07, 0.09))
    row, column = np.meshgrid(np.linspace(-0.5, 0.5, shape[0]), np.linspace(-0.5, 0.5, shape[1]), indexing="ij")
    row, column = row - rng.normal(0, 0.015), column - rng.normal(0, 0.02)
    # Patients differ in breadth less than plates do, so half of a plate's aspect stays visible in the chest.
    aspect = np.sqrt(shape[1] / shape[0])
    down = (row * np.cos(turn) - column * np.sin(turn)) / zoom / aspect**0.5
    across = (column * np.cos(turn) + row * np.sin(turn)) / zoom * aspect**0.5
    return (2.0 * across).astype(np.float32), (down + 0.5).astype(np.float32)


def _cage(y: np.ndarray, chest: Chest) -> np.ndarray:
    """Half width of the inside of the rib cage at height y; 0 above the apex."""
    fall = np.clip((y - chest.apex) / (sum(chest.base) / 2 - chest.apex), 0, 1.2)
    dome = (1 - np.clip(1 - fall / 0.75, 0, 1) ** chest.taper) ** 0.55
    return chest.width * dome * (0.90 + 0.10 * np.clip(fall, 0, 1))


def _base(x: np.ndarray, chest: Chest) -> np.ndarray:
    """y of the top of the diaphragm on the side of x."""
    return np.where(x > 0, *map(np.float32, reversed(chest.base)))


def _lungs(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the nearest wall of the lung (positive inside) and soft lung region 0 to 1; both (H, W)."""
    reach = np.abs(x)
    left = x > 0
    cage = _cage(y, chest)
    # A dome that falls to the side: the costophrenic angle is the lowest point of the lung.
    base = _base(x, chest)
    middle = np.where(left, np.float32(0.50), np.float32(0.46)) * chest.width / 0.66
    steep = np.where(reach > middle, rng.uniform(1.3, 2.2), rng.uniform(0.25, 0.5))
    floor = base + steep * (reach - middle) ** 2
    hx, hy, wide, high = chest.heart
    # On the left the heart rests on the diaphragm: no lung is left between the two.
    drop = y - hy - 0.18 * (x - hx)
    heart = 1 - np.sqrt(((x - hx) / wide) ** 2 + (np.where(left, np.minimum(drop, 0), drop) / high) ** 2)
    knob = chest.aorta - np.hypot(x - chest.hilum * 0.75, 1.6 * (y - chest.apex - 0.20))
    waist = chest.hilum * (0.62 + 0.5 * np.exp(-(((y - chest.apex - 0.36) / 0.12) ** 2)))
    walls = (
        cage - reach,
        reach - waist,
        1.6 * (floor - y),
        -0.16 * heart / 0.5,
        -knob,
        1.6 * (y - chest.apex) + 0.02,
    )
    # A smooth minimum rounds the corners where walls meet.
    sharp = np.float32(60.0)
    field = -np.log(sum(np.exp(np.clip(-sharp * wall, -60, 60)) for wall in walls)) / sharp
    wavy = fractal_noise(rng, x.shape, slope=2.2, coarsest=x.shape[0] / 5)
    field = (field + 0.006 * wavy).astype(np.float32)
    return field, (0.5 + 0.5 * np.tanh(field / 0.012)).astype(np.float32)


def _trunk(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Soft tissue of neck, shoulders, arms and trunk; 0 in the air beside the patient."""
    reach = np.abs(x)
    neck = 0.20 + 0.05 * chest.fat
    slope = np.clip((y - chest.shoulder + 0.16) / 0.20, 0, 1)
    shoulders = neck + (1.15 - neck) * (slope**2 * (3 - 2 * slope))
    arms_off = np.clip((y - rng.uniform(0.42, 0.60)) / 0.18, 0, 1)
    half = shoulders * (1 - arms_off) + chest.waist * arms_off
    inside = np.clip(1 - (reach / half) ** 2, 0, 1)
    thick = np.sqrt(inside) * (0.80 + 0.25 * np.clip(y, 0, 1))
    gap = np.exp(-(((reach - chest.waist - 0.03) / 0.05) ** 2)) * np.clip((y - 0.45) / 0.3, 0, 1)  # armpit
    return (thick * (0.70 + 0.30 * chest.fat) * (1 - 0.3 * gap)).astype(np.float32)


def _air(x: np.ndarray, y: np.ndarray, chest: Chest, field: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Missing tissue: lungs deepen away from their walls; windpipe; some lung lies behind heart and diaphragm."""
    depth = 1 - np.exp(-np.clip(field, 0, None) / 0.10)
    lower = np.clip((y - chest.apex) / 0.7, 0, 1)
    lungs = lung * (0.62 + 0.30 * depth) * (1.02 - 0.12 * lower)
    behind = 0.20 * _soft(_cage(y, chest) - np.abs(x), 0.05) * _soft(chest.base[0] + 0.05 - y, 0.05) * (1 - lung)
    behind = behind * _soft(y - chest.apex - 0.02, 0.03)
    trachea = 0.22 * np.exp(-((((x + 0.01) / 0.05) ** 2) ** 2)) * _soft(chest.apex + 0.24 - y, 0.04)
    return lungs + behind + trachea


def _mediastinum(x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Heart, great vessels and aortic knob."""
    hx, hy, wide, high = chest.heart
    squared = ((x - hx) / wide) ** 2 + ((y - hy - 0.18 * (x - hx)) / high) ** 2
    heart = np.sqrt(np.clip(1 - squared, 0, 1))
    great = np.exp(-((x / (1.1 * chest.hilum)) ** 2)) * _soft(y - chest.apex - 0.02, 0.06)
    knob = np.hypot(x - chest.hilum * 0.75, 1.6 * (y - chest.apex - 0.20))
    arch = np.sqrt(np.clip(1 - (knob / max(chest.aorta, 1e-3)) ** 2, 0, 1)) * (chest.aorta > 0)
    return 0.20 * heart + 0.13 * great + 0.08 * arch


def _diaphragm(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Liver and upper belly: dense, with gas in the stomach under the left dome at times."""
    below = _soft(y - _base(x, chest) - 0.05, 0.07) * _soft(chest.waist - np.abs(x), 0.06)
    belly = 0.20 * below
    if rng.random() < 0.55:
        column, row = rng.uniform(0.25, 0.40), chest.base[1] + rng.uniform(0.06, 0.10)
        width, height = rng.uniform(0.07, 0.16), rng.uniform(0.02, 0.045)
        bubble = _soft(1 - np.sqrt(((x - column) / width) ** 2 + ((y - row) / height) ** 2), 0.25)
        belly = belly - rng.uniform(0.12, 0.34) * bubble
    return belly


def _ribs(x: np.ndarray, y: np.ndarray, chest: Chest, lung: np.ndarray) -> np.ndarray:
    """Ribs behind and in front. They are nearly parallel, so one periodic function draws all of a side."""
    reach = np.abs(x)
    along = np.clip(reach / (chest.width + 0.04), 0, 1.3)
    first = chest.apex - 0.015
    crowd = 1 + 0.22 * np.clip((y - chest.apex) / 0.7, 0, 1)  # lower ribs stand farther apart
    behind = chest.rib_fall * along**2.6 - 0.10 * np.sin(np.pi * np.clip(along, 0, 1)) + 0.03
    place = (y - first - behind) / (chest.rib_gap * crowd)
    inside = _soft(_cage(y, chest) + 0.035 - reach, 0.012) * _soft(reach - 0.07, 0.03)
    counted = _soft(place + 0.35, 0.1) * _soft(RIBS - 0.5 - place, 0.1) * _soft(chest.base[0] + 0.10 - y, 0.06)
    back = _tube(place, 0.26) * inside * counted * (0.75 + 0.45 * along)
    front_y = 1.15 * chest.rib_fall - 0.52 * (along - 1) - 0.10 * (1 - along) ** 2
    front_place = (y - first - front_y) / (chest.rib_gap * crowd * 1.08)
    fades = np.clip((along - 0.38) / 0.35, 0, 1)  # cartilage towards the sternum does not show
    front = _tube(front_place + 0.3, 0.30) * inside * fades * _soft(front_place + 0.3, 0.15)
    front = front * _soft(5.5 - front_place, 0.2)
    return (0.17 * back + 0.10 * front) * (0.45 + 0.55 * lung)


def _tube(place: np.ndarray, half: float) -> np.ndarray:
    """A hollow bone about every integer of ``place``, seen from the side: its edges are its densest part."""
    offset = np.abs(place - np.rint(place)) / half
    chord = np.sqrt(np.clip(1 - offset**2, 0, 1)) - 0.55 * np.sqrt(np.clip(1 - (offset / 0.72) ** 2, 0, 1))
    return 1.3 * np.clip(chord, 0, 1)


def _spine(x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Vertebral bodies with discs between them, and their pedicles."""
    gap = 0.78 * chest.rib_gap
    place = (y - chest.apex) / gap
    half = 0.075 + 0.025 * np.clip(y, 0, 1)
    disc = np.exp(-(((place - np.rint(place)) / 0.12) ** 2))
    column = _soft(half * (1 - 0.12 * (1 - disc)) - np.abs(x), 0.012)
    body = column * (0.14 - 0.05 * disc) + 0.04 * np.exp(-(((np.abs(x) - half) / 0.015) ** 2))
    centre = place - np.floor(place) - 0.35
    pedicle = np.exp(-(((np.abs(x) - 0.055) / 0.018) ** 2) - (centre * gap / 0.012) ** 2)
    return body * (0.8 + 0.5 * np.clip(y - 0.1, 0, 1)) + 0.06 * pedicle


def _clavicles(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Two S-shaped bones from the sternum to the shoulders."""
    reach = np.abs(x)
    along = np.clip((reach - 0.07) / 0.68, 0, 1)
    tilt = chest.clavicle + 0.02 * np.sign(x) * rng.normal(0, 0.6)
    middle = chest.apex + 0.10 - tilt * along - 0.030 * np.sin(2 * np.pi * along) * (1 - 0.3 * along)
    half = 0.016 + 0.009 * np.exp(-((along / 0.12) ** 2)) + 0.003 * along
    ends = _soft(reach - 0.075, 0.012) * _soft(0.76 - reach, 0.015)
    return 0.19 * _tube(np.clip((y - middle) / half, -0.5 / 0.45, 0.5 / 0.45) * 0.45, 0.45) * ends


def _shoulders(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Shoulder blades, mostly rolled off the lungs, and the heads of the humeri with their shafts."""
    reach = np.abs(x)
    inner = 0.60 + rng.uniform(-0.06, 0.10)
    top = chest.shoulder + 0.02
    length = np.clip((y - top) / 0.36, 0, 1)
    medial = inner + 0.02 - 0.06 * np.sin(np.pi * length) + 0.16 * length**3
    lateral = inner + 0.24 - 0.20 * length
    blade = _soft(reach - medial, 0.012) * _soft(lateral - reach, 0.02)
    blade = blade * _soft(y - top, 0.015) * _soft(top + 0.36 - y, 0.02)
    rim = np.exp(-(((reach - medial) / 0.014) ** 2)) * _soft(y - top, 0.015) * _soft(top + 0.34 - y, 0.02)
    ridge = np.exp(-(((y - top - 0.05 + 0.12 * (reach - inner)) / 0.012) ** 2)) * _soft(reach - inner - 0.03, 0.02)
    head = _soft(0.105 - np.hypot(reach - 0.90, 1.7 * (y - top - 0.045)), 0.012)
    shaft = _soft(0.055 - np.abs(reach - 0.95 - 0.22 * (y - top)), 0.01) * _soft(y - top - 0.05, 0.03)
    return 0.045 * blade + 0.075 * rim + 0.07 * ridge * _soft(0.88 - reach, 0.03) + 0.14 * head + 0.11 * shaft


def _breasts(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest) -> np.ndarray:
    """Half rounds over the lower lungs, with a visible lower edge."""
    if not chest.breast:
        return np.zeros_like(x)
    row, column = 0.60 + rng.uniform(-0.03, 0.06), 0.42 + rng.uniform(-0.03, 0.05)
    squared = ((np.abs(x) - column) / 0.30) ** 2 + ((y - row) / 0.20) ** 2
    return 0.5 * chest.breast * np.sqrt(np.clip(1 - squared, 0, 1)) * np.clip((y - row + 0.20) / 0.3, 0, 1)


def _vessels(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, chest: Chest, lung: np.ndarray) -> np.ndarray:
    """The hilum, arteries and veins that branch from it and get thinner, and the fine grain of the lung."""
    shape = x.shape
    strokes: list[Stroke] = []
    pixels = shape[1] / 2  # of a unit of x; vessels need no better place than that
    for side in (-1, 1):
        root = np.array([side * (chest.hilum + 0.03), chest.apex + 0.34 - 0.02 * (side > 0)])
        for turn in np.linspace(-1.25, 1.35, 9):
            _branch(rng, strokes, root, side, turn + rng.normal(0, 0.12), rng.uniform(0.16, 0.30), 0.020, 3)
    upright = [
        Stroke((points * (1, 2) + (1, 0)) * pixels * (1, shape[0] / shape[1]), width * pixels, strength)
        for points, width, strength in strokes
    ]
    tree = ndimage.gaussian_filter(coverage(shape, upright), 0.6)
    hila = sum(
        np.exp(-(((x - side * (chest.hilum + 0.03)) / 0.055) ** 2) - ((y - chest.apex - 0.345) / 0.055) ** 2)
        for side in (-1, 1)
    )
    grain = band_noise(rng, shape, wavelength=shape[0] / 45, spread=0.5)
    return lung * (rng.uniform(0.12, 0.22) * tree + 0.11 * hila + 0.012 * grain)


def _branch(
    rng: np.random.Generator,
    strokes: list[Stroke],
    start: np.ndarray,
    side: int,
    turn: float,
    length: float,
    width: float,
    depth: int,
) -> None:
    """Add a vessel from ``start`` that leaves at ``turn`` (0 is outwards, positive is down) and splits in two."""
    bend = turn + rng.normal(0, 0.25) * BEND
    steps = length / 5 * np.stack([side * np.cos(bend), 0.5 * np.sin(bend)], axis=1)
    points = np.vstack([start, start + np.cumsum(steps, axis=0)])
    strokes.append(Stroke(points, width, min(1.0, 0.35 + 25 * width)))
    if depth:
        for swing in (-1, 1):
            next_turn = turn + swing * rng.uniform(0.15, 0.55)
            _branch(rng, strokes, points[-1], side, next_turn, length * rng.uniform(0.5, 0.8), 0.62 * width, depth - 1)


def _disease(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    density: np.ndarray,
    lung: np.ndarray,
    field: np.ndarray,
    chest: Chest,
) -> np.ndarray:
    """Effusion, consolidation, nodules or a diffuse pattern; each hides part of the lung."""
    side = _side(rng)
    kind = rng.choice(4, p=[0.33, 0.32, 0.17, 0.18])
    on_side = _soft(side * x, 0.02)
    if kind == 0:  # effusion: level with a meniscus that climbs the side wall
        level = chest.base[0] - rng.triangular(0.0, 0.08, 0.48)
        wall = np.clip(_cage(y, chest) - np.abs(x), 0, 1)
        shadow = _soft(y - level + 0.10 * np.exp(-wall / 0.06), 0.025) * on_side
        return density + rng.uniform(0.32, 0.46) * shadow * lung
    if kind == 1:  # consolidation: a cloudy lobe
        column, row = side * rng.uniform(0.22, 0.5) * chest.width / 0.66, rng.uniform(chest.apex + 0.12, chest.base[0])
        distance = np.hypot((x - column) / rng.uniform(0.14, 0.32), (y - row) / rng.uniform(0.07, 0.18))
        cloud = fractal_noise(rng, x.shape, slope=1.5, coarsest=x.shape[0] / 5)
        shadow = _soft(1 - distance + 0.35 * cloud, 0.35) * on_side
        return density + rng.uniform(0.22, 0.48) * shadow * lung
    if kind == 2:  # nodules
        for _ in range(int(rng.integers(1, 7))):
            column, row = rng.uniform(-0.6, 0.6), rng.uniform(chest.apex + 0.05, chest.base[0])
            radius = rng.uniform(0.02, 0.07)
            squared = (np.hypot(x - column, 1.7 * (y - row)) / radius) ** 2
            density = density + rng.uniform(0.10, 0.25) * lung * np.exp(-(squared**1.5))
        return density
    pattern = fractal_noise(rng, x.shape, slope=1.0, coarsest=x.shape[0] / 8)
    fades = np.exp(-np.clip(field, 0, None) / rng.uniform(0.08, 0.3))
    return density + lung * np.clip(0.10 + 0.06 * pattern, 0, 0.5) * rng.uniform(0.5, 1.8) * (0.4 + 0.6 * fades)


def _devices(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Leads with their electrodes, as at the bedside, or a pacemaker; (H, W) density of metal."""
    corner, span = np.array(shape[::-1]) * (0.2, 0.2), np.array(shape[::-1]) * (0.6, 0.5)
    along = np.linspace(0, 1, 30)[:, None]
    strokes = []
    for _ in range(int(rng.integers(1, 5))):
        start, end = corner + rng.random(2) * span, np.array([rng.random(), rng.integers(2)]) * shape[::-1]
        sway = rng.normal(0, 0.12, 2) * shape[::-1] * np.sin(np.pi * along)
        strokes.append(Stroke(start + (end - start) * along + sway, 0.006 * shape[0], 0.6))
        strokes.append(Stroke(np.array([start, start + np.array([0.02 * shape[1], 0])]), 0.025 * shape[0]))
    if rng.random() < 0.3:  # the box of a pacemaker lies under the left clavicle
        place = np.array(shape[::-1]) * (rng.uniform(0.68, 0.76), rng.uniform(0.28, 0.36))
        strokes.append(Stroke(np.array([place, place + np.array([0.07, 0.02]) * shape[::-1]]), 0.09 * shape[0]))
    return 0.35 * coverage(shape, strokes)


def _exposed(rng: np.random.Generator, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plate and its processing: blur, scatter, noise, contrast, marker, collimator.

    Returns the picture, (H, W) float32 in [0, 1], and where the beam fell, (H, W) bool.
    """
    shape = density.shape
    density = ndimage.gaussian_filter(density, rng.uniform(0.5, 0.9))
    # Two passes of a box are near enough to a Gaussian, at a tenth of the time for one this wide.
    scatter = ndimage.uniform_filter(ndimage.uniform_filter(density, shape[0] // 5), shape[0] // 5)
    density = density + rng.uniform(-0.25, 0.30) * (density - scatter)  # edge processing, or its absence
    heel: np.ndarray = np.linspace(-1, 1, shape[0])[:, None] * rng.normal(0, 0.03) + np.linspace(
        -1, 1, shape[1]
    ) * rng.normal(0, 0.03)
    # Fewer quanta come through dense parts, so these are the noisiest.
    grain = rng.standard_normal(shape, dtype=np.float32) * rng.uniform(0.006, 0.022) * np.exp(0.5 * density)
    density = density + heel.astype(np.float32) + ndimage.gaussian_filter(grain, 0.5)

    # Most plates are well processed; some look like hard film (lungs black, belly white), a few are badly exposed.
    look = rng.random()
    if look < 0.20:
        centre, steep = rng.normal(0.70, 0.05), rng.uniform(4.2, 5.5)
    elif look < 0.28:
        centre, steep = rng.choice([0.25, 1.0]) + rng.normal(0, 0.05), rng.uniform(3.5, 6.0)
    else:
        centre, steep = rng.normal(0.58, 0.06), rng.uniform(2.0, 3.2)
    low, high = (float(1 / (1 + np.exp(-steep * (end - centre)))) for end in (0.0, 1.35))
    shown = (1 / (1 + np.exp(-steep * (density - centre))) - low) / (high - low)
    shown = np.clip(shown * rng.uniform(0.86, 1.0) + rng.uniform(0.0, 0.06), 0, 1)

    letters = str(rng.choice(["L", "R", "L", "PA"]))
    height = shape[0] * rng.uniform(0.025, 0.05)
    column = rng.uniform(0.04, 0.13) if letters == "R" else rng.uniform(0.80, 0.90)  # R and L stand on their side
    corner = (column * shape[1], rng.uniform(0.03, 0.14) * shape[0])
    marker = coverage(shape, text(letters, corner=corner, height=height, width=max(1.0, 0.17 * height)))
    shown = shown + marker * (0.98 - shown)
    beam = _collimator(rng, shape) if rng.random() < 0.22 else np.ones(shape, np.float32)
    return (shown * beam).astype(np.float32), beam > 0.5


def _collimator(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) 1 inside the beam and 0 in the black borders on one to four sides."""
    rows, columns = np.ones(shape[0], np.float32), np.ones(shape[1], np.float32)
    for line in (rows, columns):
        before, after = (rng.uniform(0, 0.07, 2) * (rng.random(2) < 0.6) * len(line)).astype(int)
        line[:before] = 0
        line[len(line) - after :] = 0
    return ndimage.gaussian_filter(rows[:, None] * columns, 0.6)


def _side(rng: np.random.Generator) -> int:
    """-1 or 1."""
    return 1 if rng.random() < 0.5 else -1


def _soft(values: np.ndarray, softness: float) -> np.ndarray:
    """A soft threshold at zero: 0 well below, 1 well above."""
    return 0.5 + 0.5 * np.tanh(values / softness)
