"""Drawn dermoscopy: skin of any tone, a lesion of one of nine kinds, and what gets in the way.

Light is counted in linear RGB. Pigment and blood absorb it after Beer and Lambert, so a thin layer of melanin is
orange, a thick one nearly black, on every skin. Only the finished picture is encoded as sRGB.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from bundle.data.demo.noise import band_noise, fractal_noise
from bundle.data.demo.strokes import Stroke, coverage, text

# Absorption of R, G, B (about 650, 545, 450 nm) relative to G. That of melanosomes in skin falls as wavelength to the
# power -3.48 (Jacques 1998, omlc.org/spectra/melanin/mua.html); haemoglobin lets red through.
MELANIN = np.array([0.54, 1.0, 1.95], dtype=np.float32)
BLOOD = np.array([0.12, 1.0, 0.80], dtype=np.float32)
VEIL = np.array([0.20, 0.25, 0.34], dtype=np.float32)  # pigment deep in the dermis looks blue (Tyndall scattering)
SHAPES = ((192, 256), (240, 240), (240, 320), (256, 256), (256, 192), (216, 288))  # rows, columns for size 256


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of lesion. Ranges are drawn uniformly; strengths are optical densities at 550 nm unless said otherwise.

    Attributes:
        share: how common it is, relative to the other kinds.
        melanin: density of the body; negative is lighter than the skin.
        blood: density of haemoglobin.
        edge: width of the border's fade as a part of the radius.
        irregularity: how far the outline leaves an ellipse, in log radius.
        blotches: modulation of the melanin in large patches, relative.
        network: strength of a net with round holes, relative.
        globules: strength of round islands, relative.
        streaks: strength of radial lines at the border, relative.
        veil: largest opacity of blue-white patches, 0 to 1.
        cysts: opacity of small white dots, 0 to 1.
        vessels: density of red dots and lacunae.
        radius: smallest and largest radius, as a part of the shorter side.
    """

    share: float
    melanin: tuple[float, float]
    blood: tuple[float, float] = (0.0, 0.15)
    edge: tuple[float, float] = (0.04, 0.16)
    irregularity: tuple[float, float] = (0.06, 0.20)
    blotches: float = 0.25
    network: float = 0.0
    globules: float = 0.0
    streaks: float = 0.0
    veil: float = 0.0
    cysts: float = 0.0
    vessels: float = 0.0
    radius: tuple[float, float] = (0.12, 0.36)


KINDS = {
    "reticular naevus": Kind(0.28, (0.6, 1.5), network=0.7),
    "globular naevus": Kind(0.14, (0.5, 1.3), globules=0.9, edge=(0.03, 0.10)),
    "melanoma": Kind(
        0.15,
        (1.0, 2.4),
        blood=(0.1, 0.5),
        edge=(0.02, 0.08),
        irregularity=(0.14, 0.26),
        blotches=0.5,
        network=0.5,
        globules=0.4,
        streaks=0.8,
        veil=0.75,
        radius=(0.2, 0.48),
    ),
    "lentigo": Kind(0.13, (0.16, 0.40), edge=(0.10, 0.25), irregularity=(0.12, 0.28), blotches=0.5, network=0.3),
    "keratosis": Kind(0.09, (0.4, 1.1), edge=(0.01, 0.04), blotches=0.35, globules=0.3, cysts=0.8, radius=(0.16, 0.5)),
    "pink": Kind(0.08, (-0.05, 0.12), blood=(0.25, 0.6), edge=(0.06, 0.2), blotches=0.4, vessels=0.6),
    "blue naevus": Kind(0.04, (1.3, 2.2), edge=(0.06, 0.14), irregularity=(0.03, 0.08), veil=0.55, radius=(0.08, 0.22)),
    "haemangioma": Kind(0.04, (0.0, 0.3), blood=(0.9, 1.8), edge=(0.03, 0.08), vessels=1.0, radius=(0.08, 0.24)),
    "hypopigmented": Kind(0.05, (-0.30, -0.14), blood=(-0.10, 0.10), edge=(0.06, 0.18), irregularity=(0.1, 0.25)),
}


@dataclasses.dataclass(frozen=True)
class Camera:
    """A way of taking the picture: its colours, and how likely each disturbance is with it (0 to 1).

    Attributes:
        share: how common it is, relative to the others.
        gain: factor of linear R, G, B.
        exposure: range of the factor of all channels.
        ruler: a scale with ticks.
        frame: the black round edge of the dermatoscope.
        shading: largest density of the darkening towards the corners.
        patch: a coloured sticker at the side.
        bubbles: air under the plate.
        glints: mirror reflections.
        ink: a marker's line on the skin.
    """

    share: float
    gain: tuple[float, float, float]
    exposure: tuple[float, float]
    ruler: float = 0.0
    frame: float = 0.0
    shading: float = 0.4
    patch: float = 0.0
    bubbles: float = 0.0
    glints: float = 0.0
    ink: float = 0.04


CAMERAS = {
    "polarised": Camera(0.34, (1.02, 0.99, 0.99), (0.6, 1.05), ruler=0.7, shading=0.25, ink=0.10),
    "immersion": Camera(0.34, (0.97, 1.03, 1.02), (1.0, 1.4), frame=0.2, shading=0.7, bubbles=0.45, glints=0.2),
    "warm": Camera(0.18, (1.12, 1.0, 0.82), (0.95, 1.35), frame=0.25, shading=0.5, glints=0.3),
    "clinic": Camera(0.14, (1.05, 0.98, 0.90), (0.8, 1.15), patch=0.55, shading=0.2),
}
# Individual typology angle in degrees (Chardin et al. 1991): above 28 light, 10 to 28 tan, -30 to 10 brown, below dark
TONES = ((0.60, 28.0, 66.0), (0.20, 10.0, 28.0), (0.13, -30.0, 10.0), (0.07, -52.0, -30.0))  # share, lowest, highest


def draw_dermoscopy(rng: np.random.Generator, *, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture and the lesion's true region.

    The region is what can be seen of the lesion when hairs, rulers, ink, glints and bubbles are thought away; where
    the frame or a sticker covers it, it is not part of the region.

    Args:
        rng: source of every choice.
        size: scale in pixels; the sides are 0.75 to 1.25 times as long, in several aspect ratios.

    Returns:
        Picture (H, W, 3) uint8 in sRGB and mask (H, W) bool, neither empty nor full.
    """
    camera = CAMERAS[_choice(rng, CAMERAS)]
    kind = KINDS[_choice(rng, KINDS)]
    rows, columns = SHAPES[rng.integers(len(SHAPES))]
    shape = (round(rows * size / 256), round(columns * size / 256))
    unit = min(shape)

    tone, light = _skin(rng, shape, camera)
    mask, depth, angle, radius = _outline(rng, shape, kind)
    light = _lesion(rng, light, mask, depth, angle, radius, kind, tone)
    if rng.random() < 0.3:
        light = _freckles(rng, light, unit)
    if rng.random() < camera.ink:
        light = _ink(rng, light)
    if rng.random() < 0.38:
        light = _hair(rng, light, tone)
    if rng.random() < camera.bubbles:
        light = _bubbles(rng, light)
    if rng.random() < camera.glints:
        light = _glints(rng, light)
    if rng.random() < camera.ruler:
        light = _ruler(rng, light)
    if rng.random() < camera.patch:
        light, hidden = _patch(rng, light)
        mask = mask & ~hidden
    light = light * (_shading(rng, shape, camera) * np.float32(rng.uniform(*camera.exposure)))[..., None]
    if rng.random() < camera.frame:
        light, hidden = _frame(rng, light)
        mask = mask & ~hidden
    return _developed(rng, light), mask


def _choice(rng: np.random.Generator, table: dict) -> str:
    shares = np.array([item.share for item in table.values()])
    return list(table)[rng.choice(len(table), p=shares / shares.sum())]


def _skin(rng: np.random.Generator, shape: tuple[int, int], camera: Camera) -> tuple[float, np.ndarray]:
    """Lightness L* of the skin and its light (H, W, 3) under an even lamp."""
    shares, lowest, highest = np.array(TONES).T
    band = rng.choice(len(TONES), p=shares)
    typology, yellow, red = rng.uniform(lowest[band], highest[band]), rng.uniform(7, 17), rng.uniform(4, 15)
    lightness = float(50 + yellow * np.tan(np.deg2rad(typology)))  # the definition of the angle, solved for L*
    colour = _linear_from_lab(lightness, red, yellow) * camera.gain * rng.normal(1, 0.04, 3)

    unit = min(shape)
    mottle = fractal_noise(rng, shape, slope=1.6, coarsest=unit / 3)
    flush = fractal_noise(rng, shape, slope=1.2, coarsest=unit / 6)
    furrows = np.abs(band_noise(rng, shape, wavelength=unit / rng.uniform(14, 30), spread=0.5))
    melanin = rng.uniform(0.01, 0.04) * mottle + rng.uniform(0, 0.07) * np.exp(-((furrows / 0.25) ** 2))
    blood = np.float32(rng.uniform(0.01, 0.07)) * flush
    return lightness, colour.astype(np.float32) * _transmitted(melanin, blood)


def _outline(
    rng: np.random.Generator, shape: tuple[int, int], kind: Kind
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mask (H, W) bool, depth (H, W) from 0 at the border to 1 at the centre, angle (H, W), radius in pixels."""
    unit = min(shape)
    part = rng.uniform(*kind.radius)
    rare = rng.random()
    if rare < 0.09:  # tiny: the hardest to find, and cheap to overlook when choosing at random
        part = rng.uniform(0.035, 0.07)
    elif rare > 0.93:  # fills the picture: its border is partly outside
        part = rng.uniform(0.55, 0.75)
    centre = np.array(shape) / 2 + rng.uniform(-0.16, 0.16, 2) * unit
    tilt, stretch = rng.uniform(0, np.pi), np.exp(abs(rng.normal(0, 0.22)))
    irregularity = rng.uniform(*kind.irregularity)
    order = np.arange(2, 10)
    amplitude = irregularity * rng.normal(0, 1, len(order)) * order**-0.9
    phase = rng.uniform(0, 2 * np.pi, len(order))
    ragged = irregularity * fractal_noise(rng, shape, slope=2.0, coarsest=max(4.0, part * unit))

    y, x = np.ogrid[: shape[0], : shape[1]]
    y, x = y - centre[0], x - centre[1]
    along = (x * np.cos(tilt) + y * np.sin(tilt)) / np.sqrt(stretch)
    across = (y * np.cos(tilt) - x * np.sin(tilt)) * np.sqrt(stretch)
    angle = np.arctan2(across, along).astype(np.float32)
    turns = np.linspace(-np.pi, np.pi, 721)  # half a degree; the outline is read off by interpolation
    wave = (amplitude[:, None] * np.cos(order[:, None] * turns + phase[:, None])).sum(0)
    log_outline = np.interp(angle, turns, wave).astype(np.float32) + 0.45 * ragged
    log_distance = np.log(np.hypot(along, across) + 0.5).astype(np.float32)
    while True:
        field = log_outline + np.float32(np.log(part * unit)) - log_distance
        mask = _largest(field > 0)
        if mask.mean() > 0.93:
            part *= 0.9
        elif mask.sum() < max(12, 0.001 * mask.size):
            part *= 1.15
        else:
            return mask, np.clip(1 - np.exp(-field), 0, 1), angle, part * unit


def _lesion(
    rng: np.random.Generator,
    light: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    angle: np.ndarray,
    radius: float,
    kind: Kind,
    tone: float,
) -> np.ndarray:
    """The skin's light (H, W, 3) after it went through the lesion."""
    shape, grain = mask.shape, float(np.clip(radius, 8, min(mask.shape) * 0.4))
    fade = max(0.7, rng.uniform(*kind.edge) * radius)
    body = ndimage.gaussian_filter(mask.astype(np.float32), fade)
    hills = fractal_noise(rng, shape, slope=1.5, coarsest=grain)
    fine = fractal_noise(rng, shape, slope=0.9, coarsest=grain / 3)
    spots = band_noise(rng, shape, wavelength=max(3.5, grain * rng.uniform(0.10, 0.22)), spread=0.25)

    relative = 1 + kind.blotches * hills + 0.12 * fine + rng.uniform(-0.3, 0.5) * depth
    if kind.network:
        relative = relative + kind.network * rng.uniform(0.4, 1) * (_step(0.35 - spots, 0.35) - 0.6) * (1.2 - depth)
    if kind.globules:
        relative = relative + kind.globules * rng.uniform(0.5, 1) * (_step(spots - 0.7, 0.25) - 0.25)
    if kind.streaks:
        turns = np.linspace(-np.pi, np.pi, 361)
        rays = np.interp(angle, turns, ndimage.gaussian_filter1d(rng.normal(0, 2.5, 361), 2.0, mode="wrap"))
        relative = relative + kind.streaks * rng.uniform(0, 1) * rays * np.exp(-(((depth - 0.12) / 0.16) ** 2))
    # Dark skin hides pigment under its own: the same lesion stands out less.
    strength = rng.uniform(*kind.melanin) * (1.0 if tone > 45 else 0.8)
    melanin = strength * body * np.clip(relative, 0.3, 3).astype(np.float32)
    blood = rng.uniform(*kind.blood) * body * np.clip(1 + 0.35 * hills + 0.15 * fine, 0.2, 2)
    if kind.vessels:
        lacunae = _step(spots - 0.8, 0.2)
        blood = blood + kind.vessels * rng.uniform(0.4, 1) * body * lacunae
    light = light * _transmitted(melanin, blood)
    if kind.veil:
        patches = _step(fractal_noise(rng, shape, slope=1.6, coarsest=grain) - rng.uniform(0.2, 1.2), 0.8)
        veil = (kind.veil * rng.uniform(0.1, 1) * body**2 * patches)[..., None]
        milk = rng.uniform(0.3, 1.1) * min(1.0, tone / 60) * (1 + 0.2 * fine[..., None])
        light = light * (1 - veil) + veil * VEIL * milk
    if kind.cysts:
        dots = _step(band_noise(rng, shape, wavelength=max(4.0, grain * 0.2), spread=0.5) - 1.9, 0.15)
        cysts = (kind.cysts * rng.uniform(0.2, 1) * body**2 * dots)[..., None]
        light = light * (1 - cysts) + cysts * np.array([0.75, 0.68, 0.52], np.float32) * min(1.0, tone / 75)
    return light


def _freckles(rng: np.random.Generator, light: np.ndarray, unit: int) -> np.ndarray:
    """Small spots and hair follicles in the skin that are no lesion."""
    spots = band_noise(rng, light.shape[:2], wavelength=unit / rng.uniform(9, 22), spread=0.5)
    threshold = rng.uniform(1.6, 2.4)
    crowd = np.clip(1 + fractal_noise(rng, light.shape[:2], slope=2.0), 0, 2)
    return light * _transmitted(rng.uniform(0.05, 0.25) * crowd * _step(spots - threshold, 0.2), np.zeros_like(spots))


def _hair(rng: np.random.Generator, light: np.ndarray, tone: float) -> np.ndarray:
    """Curved strands, dark as a rule and fair on some light skin, in one main direction."""
    shape, unit = light.shape[:2], min(light.shape[:2])
    dense = rng.random() < 0.2
    number = int(rng.integers(14, 38)) if dense else int(rng.integers(2, 11))
    direction, fair = rng.uniform(0, 2 * np.pi), tone > 60 and rng.random() < 0.25
    thickness = rng.uniform(0.004, 0.010) * unit
    strands = []
    for _ in range(number):
        turn = direction + rng.normal(0, 0.45) + np.linspace(0, rng.normal(0, 1.1), 24)
        step = rng.uniform(0.25, 1.1) * unit / 24
        path = np.cumsum(step * np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0)
        path += rng.uniform(-0.1, 1.1, 2) * shape[::-1] - path[12]
        strands.append(Stroke(path, thickness * rng.uniform(0.6, 1.3), rng.uniform(0.55, 0.95)))
    colour = np.array([0.62, 0.50, 0.33] if fair else rng.uniform(0.6, 1.4) * np.array([0.035, 0.022, 0.016]))
    return _over(light, coverage(shape, strands) * (0.7 if fair else 1.0), colour)


def _ruler(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """A scale with a tick every millimetre, at any angle in the outer part of the picture."""
    shape, unit = light.shape[:2], min(light.shape[:2])
    angle = rng.choice([0.0, 90.0, rng.uniform(0, 360)])
    turn = np.deg2rad(angle)
    along, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    length, gap = rng.uniform(0.4, 0.8) * unit, unit * rng.uniform(0.035, 0.055)
    offset = rng.uniform(0.36, 0.47) * (abs(down[0]) * shape[1] + abs(down[1]) * shape[0])
    start = np.array(shape[::-1]) / 2 + down * offset - along * length / 2
    weight = max(0.7, 0.0045 * unit)
    strokes = [Stroke(np.array([start, start + along * length]), weight, 0.9)]
    for i in range(int(length / gap) + 1):
        foot = start + along * gap * i
        reach = unit * (0.035 if i % 5 == 0 else 0.018)
        strokes.append(Stroke(np.array([foot, foot - down * reach]), weight, 0.9))
    strokes += text("mm", corner=tuple(start + 0.02 * unit * down), height=0.035 * unit, width=weight, angle=angle)
    return _over(light, coverage(shape, strokes), np.full(3, 0.02))


def _ink(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """A surgeon's violet pen: part of a circle around the middle."""
    shape = light.shape[:2]
    start = rng.uniform(0, 2 * np.pi)
    turn = np.linspace(start, start + rng.uniform(0.8, 3.5), 60)
    reach = rng.uniform(0.40, 0.5) * np.array(shape[::-1]) * rng.uniform(0.9, 1.05, 2)
    path = np.array(shape[::-1]) / 2 + reach * np.stack([np.cos(turn), np.sin(turn)], 1) + rng.normal(0, 0.6, (60, 2))
    line = ndimage.gaussian_filter(coverage(shape, [Stroke(path, 0.022 * min(shape))]), 0.8)
    worn = np.clip(0.75 + 0.3 * fractal_noise(rng, shape, slope=0.7), 0, 1)
    density = (line * worn * rng.uniform(0.7, 1.6))[..., None] * np.array([1.0, 1.3, 0.45], np.float32)
    return light * np.exp(-density)


def _bubbles(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Air under the plate: a bright and a dark rim with a small highlight."""
    shape, unit = light.shape[:2], min(light.shape[:2])
    y, x = np.ogrid[: shape[0], : shape[1]]
    glow = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 9))):
        radius = unit * rng.choice([rng.uniform(0.008, 0.025), rng.uniform(0.03, 0.08)], p=[0.75, 0.25])
        row, column = rng.uniform(0, 1, 2) * shape
        distance = np.hypot(y - row, x - column)
        glow += 0.30 * np.exp(-(((distance - radius) / 1.1) ** 2)) - 0.18 * np.exp(
            -(((distance - radius - 2) / 1.3) ** 2)
        )
        spark = np.hypot(y - row + 0.45 * radius, x - column + 0.45 * radius)
        glow += 0.35 * np.exp(-((spark / max(0.8, 0.22 * radius)) ** 2))
    return np.maximum(light * (1 + 1.2 * glow[..., None]) + 0.25 * np.maximum(glow, 0)[..., None], 0)


def _glints(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Mirror reflections of the lamp on moist scales, in a few clusters."""
    shape, unit = light.shape[:2], min(light.shape[:2])
    where = _step(fractal_noise(rng, shape, slope=2.0) - rng.uniform(1.0, 1.8), 0.3)
    dots = _step(band_noise(rng, shape, wavelength=max(3.0, unit * 0.02), spread=0.9) - 2.1, 0.25)
    return _over(light, 0.9 * where * dots, np.array([0.95, 0.97, 1.0]))


def _patch(rng: np.random.Generator, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A round sticker that reaches in from one side, and where it hides the skin (H, W) bool."""
    shape, unit = light.shape[:2], min(light.shape[:2])
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius, inside = unit * rng.uniform(0.2, 0.4), unit * rng.uniform(0.06, 0.2)
    side, along = rng.integers(4), rng.uniform(0.1, 0.9)
    beyond = radius - inside
    row = (-beyond, shape[0] + beyond, along * shape[0], along * shape[0])[side]
    column = (along * shape[1], along * shape[1], -beyond, shape[1] + beyond)[side]
    distance = np.hypot(y - row, x - column).astype(np.float32)
    palette = ((0.95, 0.32, 0.02), (0.05, 0.42, 0.50), (0.85, 0.62, 0.03), (0.10, 0.35, 0.08), (0.45, 0.05, 0.25))
    colour = np.array(palette[rng.integers(len(palette))])
    cloth = 1 + 0.06 * fractal_noise(rng, shape, slope=0.6, coarsest=8)
    shadow = 1 - 0.35 * np.exp(-(((distance - radius) / (0.02 * unit)) ** 2))
    painted = _over(light * shadow[..., None], _step(radius - distance, 0.6), colour * cloth[..., None])
    return painted, distance < radius


def _frame(rng: np.random.Generator, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dermatoscope's round opening: black outside, and where that is (H, W) bool."""
    shape = light.shape[:2]
    y, x = np.ogrid[: shape[0], : shape[1]]
    row, column = np.array(shape) * rng.normal(0.5, 0.015, 2)
    radius = rng.uniform(0.49, 0.60) * (min(shape) * 0.6 + max(shape) * 0.4)
    distance = np.hypot(y - row, x - column).astype(np.float32)
    opening = _step(radius - distance, rng.uniform(0.8, 2.5))[..., None]
    return light * opening + 0.003 * (1 - opening), distance > radius


def _shading(rng: np.random.Generator, shape: tuple[int, int], camera: Camera) -> np.ndarray:
    """(H, W) transmission of the optics: falls towards the corners, and one side may be darker."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    slope_y, slope_x = rng.normal(0, 0.08, 2)
    squared = (x**2 + y**2) / 2
    return np.exp(-camera.shading * rng.uniform(0.2, 1) * squared**2 - slope_y * y - slope_x * x).astype(np.float32)


def _developed(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """The camera: a little blur, noise, the sRGB curve (IEC 61966-2-1), 8 bits."""
    blur = rng.uniform(0.25, 0.8)
    light = ndimage.gaussian_filter(light, (blur, blur, 0))
    light = light + rng.uniform(0.002, 0.008) * rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(
        light + 0.02
    )
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def _transmitted(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """(H, W, 3) part of the light that passes densities (H, W) of melanin and blood."""
    density = melanin.astype(np.float32)[..., None] * MELANIN + blood.astype(np.float32)[..., None] * BLOOD
    return np.exp(-density)


def _over(light: np.ndarray, opacity: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Paint ``colour`` (3,) or (H, W, 3) over ``light`` with ``opacity`` (H, W)."""
    opacity = opacity.astype(np.float32)[..., None]
    return light * (1 - opacity) + opacity * np.asarray(colour, np.float32)


def _step(values: np.ndarray, softness: float) -> np.ndarray:
    """A soft threshold at zero: 0 well below, 1 well above."""
    return 0.5 + 0.5 * np.tanh(values / softness)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part with its holes filled, as an expert would outline it."""
    parts, number = ndimage.label(mask)
    if number == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(parts == sizes.argmax())


def _linear_from_lab(lightness: float, red: float, yellow: float) -> np.ndarray:
    """Linear sRGB (3,) of a CIELAB colour under D65, clipped to what the space can show (IEC 61966-2-1)."""
    root = (lightness + 16) / 116 + np.array([red / 500, 0.0, -yellow / 200])
    relative = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29))
    xyz = relative * (0.95047, 1.0, 1.08883)
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.clip(to_rgb @ xyz, 0.005, 1)
