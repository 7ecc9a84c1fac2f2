"""Gray values and masks of PNG, JPEG and TIFF: transparency, palettes, depth, refusals."""

import collections
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_pipelines import images, raster, sources
from prosona_jax.types import InputError

RAMP = np.arange(12 * 10).reshape(12, 10)
DRAWN = np.zeros((12, 10), bool)
DRAWN[3:7, 2:8] = True
WHITE = np.full((12, 10), 255, np.uint8)
SAVE = "; save the mask as a gray PNG of 0 and 255, without transparency or palette"


@pytest.fixture
def save(tmp_path):
    def save(image, name="x.png", **options):
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def rgba(colour, alpha):
    return np.dstack([colour, colour, colour, alpha]).astype(np.uint8)


def palette(indices, colours):
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def refused(read, path):
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_transparent_pixels_are_black_and_give_a_caveat(save):
    colour, alpha = RAMP.astype(np.uint8), np.where(RAMP < 30, 0, 255)
    colour[RAMP < 30] = 255  # white, and invisible
    picture = images.read(save(rgba(colour, alpha)))
    np.testing.assert_allclose(picture.image[..., 0], np.where(RAMP < 30, 0, RAMP) / 255, atol=1e-6)
    assert picture.caveats == (
        "Transparent: 25% of the pixels are not opaque and were blended with black.",
    )
    half = images.read(save(rgba(np.where(RAMP < 60, 200, 100), np.where(RAMP < 60, 51, 255))))
    np.testing.assert_allclose(half.image[0, 0], 200 / 255 * 0.2, rtol=1e-5)
    gray = save(np.dstack([colour, alpha.astype(np.uint8)]), "la.png")
    np.testing.assert_array_equal(images.read(gray).image, picture.image)


def test_opaque_images_are_the_same_with_and_without_alpha(save):
    plain = images.read(save(RAMP.astype(np.uint8)))
    opaque = images.read(save(rgba(RAMP, WHITE), "alpha.png"))
    np.testing.assert_array_equal(opaque.image, plain.image)
    assert opaque.caveats == plain.caveats == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_gray_value_may_stand_for_transparent(save, dtype):
    path = save(Image.fromarray(RAMP.astype(dtype)), transparency=119)
    values = raster.read_gray(path)
    np.testing.assert_array_equal(values.values, np.where(RAMP == 119, 0, RAMP))
    assert values.transparent == pytest.approx(1 / 120)


def test_a_palette_image_is_read_by_its_colours(save):
    colours = [(200, 200, 200), (10, 10, 10), (90, 90, 90)]
    picture = images.read(save(palette(RAMP % 3, colours)))
    np.testing.assert_allclose(
        255 * picture.image[..., 0], np.array([200, 10, 90])[RAMP % 3], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["x.tif", "x.png"])
def test_the_rotation_in_a_cameras_tag_is_applied(save, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # asks for a clockwise rotation of 90 degrees
    turned = images.read(save(RAMP.astype(np.uint8), name, exif=exif))
    np.testing.assert_allclose(255 * turned.image[..., 0], np.rot90(RAMP, -1), rtol=1e-6)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_a_jpeg_is_read_whatever_its_name_says(save, name):
    smooth = (RAMP + 40).astype(np.uint8)
    path = save(smooth, name, format="JPEG", quality=95)
    np.testing.assert_allclose(255 * images.read(path).image[..., 0], smooth, atol=4)
    files = images.encode_masks("x", DRAWN[None], images.read(path), names=["a"], notes=["b"])
    assert list(files) == ["x_1_a.png"]


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_tiff(save, dtype, white):
    pixels = (RAMP * (white // 120)).astype(dtype)
    picture = images.read(save(pixels, "x.tiff"))
    np.testing.assert_allclose(picture.image[..., 0], pixels / white, rtol=1e-6)
    stored = images.read(save(pixels, "x.tiff"), unit="arbitrary")
    np.testing.assert_array_equal(stored.image[..., 0], pixels)
    assert (picture.intensity_unit, stored.intensity_unit) == ("unit", "arbitrary")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_inverted(save, dtype):
    white = np.iinfo(dtype).max
    pixels = (RAMP * (white // 120)).astype(dtype)
    path = save(pixels, "x.tif", tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    content = path.read_bytes()
    shown = white - pixels if pixels.tobytes() in content else pixels  # as Pillow wrote them
    np.testing.assert_allclose(white * images.read(path).image[..., 0], shown, rtol=1e-5)
    # A range refers to the stored values; HU are never inverted.
    ranged = images.read(path, value_range=(0, white // 2)).image[..., 0]
    stored = white - shown
    np.testing.assert_allclose(ranged, 1 - np.minimum(stored / (white // 2), 1), atol=1e-6)
    np.testing.assert_array_equal(images.read(path, unit="HU").image[..., 0], stored)
    np.testing.assert_array_equal(images.read(path, unit="arbitrary").image[..., 0], -1.0 * stored)


def tiff(pixels, *, white_is_zero=False):
    """Writes a TIFF file of any type of values, since Pillow writes only some."""
    height, width = pixels.shape
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = {
        256: width, 257: height, 258: 8 * pixels.dtype.itemsize, 259: 1,
        262: 0 if white_is_zero else 1, 273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: height,
        279: pixels.nbytes, 339: form,
    }  # fmt: skip
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4)
    return head + pixels.tobytes()


def test_integers_of_a_tiff_keep_their_sign(tmp_path):
    path = tmp_path / "x.tif"
    for dtype, low in (("<i2", -1000), ("<i4", -1000), ("<u4", 3_000_000_000)):
        path.write_bytes(tiff((low + 100 * RAMP).astype(dtype)))
        picture = images.read(path, unit="arbitrary")
        np.testing.assert_allclose(picture.image[..., 0], low + 100.0 * RAMP, rtol=1e-6)
        assert refused(images.read, path).startswith("its values are signed or have 32 bits, and")
    path.write_bytes(tiff((RAMP - 60).astype("<i1")))
    assert refused(images.read, path) == (
        "its values are signed and have 8 bits; save them with 16 bits"
    )
    path.write_bytes(tiff(RAMP.astype("<f8")))
    assert refused(images.read, path) == (
        "not a readable PNG, JPEG or TIFF, truncated or damaged: it is a TIFF image (or one of a "
        "kind that is not read, such as numbers of 64 bits); save it again as PNG"
    )


def test_a_mask_whose_white_is_zero(tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(np.where(DRAWN, 0, 255).astype("<u1"), white_is_zero=True))
    np.testing.assert_array_equal(raster.read_mask(path), DRAWN)
    path.write_bytes(tiff(np.where(DRAWN, 0, 65535).astype("<u2"), white_is_zero=True))
    assert refused(raster.read_mask, path) == (
        f"its white is 0 (WhiteIsZero), so 0 is not black{SAVE}"
    )


@pytest.mark.parametrize(("colours", "kind"), [(3, 2), (2, 4), (4, 6)])
@pytest.mark.parametrize("read", [images.read, raster.read_mask])
def test_colours_of_16_bits_are_refused(tmp_path, colours, kind, read):
    """Pillow keeps 8 bits: 12-bit values would become 16 grays, and a mask of ones empty."""

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    pixels = np.repeat(RAMP[..., None], colours, axis=-1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 12, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert refused(read, path) == (
        "its colours have 16 bits, and Pillow reads only 8; save it as gray of 8 or 16 bits"
    )


def test_an_image_of_a_telephone_is_one_jpeg(save):
    """MPO is a JPEG with previews; it is refused as a mask."""
    pixels = Image.fromarray((RAMP + 40).astype(np.uint8))
    path = save(pixels, "x.jpg", format="MPO", save_all=True, append_images=[pixels])
    np.testing.assert_allclose(255 * images.read(path).image[..., 0], RAMP + 40, atol=6)
    assert refused(raster.read_mask, path).startswith("is a JPEG image, and JPEG changes")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_tiff_of_32_bits_needs_a_unit(save, dtype):
    hounsfield = (RAMP * 10 - 1000).astype(dtype)
    path = save(hounsfield, "x.tif")
    assert refused(images.read, path) == (
        "its values are signed or have 32 bits, and the file does not state their unit; give the "
        "unit, HU or arbitrary, or the range that becomes 0..1"
    )
    picture = images.read(path, unit="HU")
    np.testing.assert_array_equal(picture.image[..., 0], hounsfield)
    assert picture.intensity_unit == "HU"
    ranged = images.read(path, value_range=(-1000, -800))
    np.testing.assert_allclose(ranged.image[..., 0], np.minimum(RAMP / 20, 1), rtol=1e-6)
    assert ranged.intensity_unit == "unit"


def test_pages_of_a_tiff_are_slices(save):
    pages = [Image.fromarray((RAMP + k).astype(np.uint8)) for k in range(3)]
    path = save(pages[0], "x.tif", save_all=True, append_images=pages[1:])
    assert refused(images.read, path) == "holds 3 slices; choose one of 0..2"
    picture = images.read(path, slice_index=2)
    np.testing.assert_allclose(255 * picture.image[..., 0], RAMP + 2, rtol=1e-6)


def test_12_bit_values_in_16_bits_are_scaled_by_a_range(save):
    path = save((RAMP * 34).astype(np.uint16))
    assert images.read(path).image.max() < 0.07
    picture = images.read(path, value_range=(0, 4095))
    np.testing.assert_allclose(picture.image[..., 0], RAMP * 34 / 4095, rtol=1e-5)
    assert picture.caveats == ()
    assert images.read(path, value_range=(0, 340)).caveats == (
        "Clipped: 91% of the pixels lie beyond the range 0 to 340 and became 0 or 1.",
    )
    assert refused(lambda path: images.read(path, unit="HU", value_range=(0, 1)), path) == (
        "a range scales the values to 0..1; leave 'HU' out"
    )
    assert refused(lambda path: images.read(path, value_range=(5, 5)), path) == (
        "range is (5, 5); give (low, high) with low < high"
    )


def test_a_mask_in_every_encoding(save):
    indices = DRAWN.astype(np.uint8)
    for name, image in {
        "gray": DRAWN * WHITE,
        "one": indices,
        "bits": Image.fromarray(DRAWN * WHITE).convert("1"),
        "deep": DRAWN * np.uint16(300),
        "dark blue": np.dstack([0 * indices, 0 * indices, 5 * indices]),
        "opaque": rgba(DRAWN * WHITE, WHITE),
        "nearly opaque": rgba(DRAWN * WHITE, 0 * WHITE + 254),
        "on transparent": rgba(DRAWN * WHITE, DRAWN * WHITE),
        "in the alpha of white": rgba(WHITE, DRAWN * WHITE),
        "in the alpha of black": rgba(0 * WHITE, DRAWN * WHITE),
        "palette": palette(indices, [(0, 0, 0), (128, 0, 0)]),
        "palette of gray": palette(indices, [(0, 0, 0), (1, 1, 1)]),
        "framed by transparent": rgba(DRAWN * WHITE, np.where(RAMP < 20, 0, 255)),
    }.items():
        np.testing.assert_array_equal(raster.read_mask(save(image)), DRAWN, err_msg=name)
    transparent = save(palette(indices, [(255, 255, 255), (128, 0, 0)]), transparency=0)
    np.testing.assert_array_equal(raster.read_mask(transparent), DRAWN)
    assert not raster.read_mask(save(rgba(0 * WHITE, WHITE))).any()
    assert not raster.read_mask(save(0 * WHITE)).any()


def test_contradicting_masks_in_one_file_are_refused(save):
    indices = DRAWN.astype(np.uint8)
    for colours in ([(255, 255, 255), (0, 0, 0)], [(0, 0, 0), (0, 0, 0)], [(9, 9, 9), (1, 1, 1)]):
        assert refused(raster.read_mask, save(palette(indices, colours))) == (
            "its palette gives index 0 a colour, or makes another index black, so its indices and "
            f"its colours are different masks{SAVE}"
        )
    other = rgba(DRAWN * WHITE, np.roll(DRAWN, 3, axis=0) * WHITE)
    assert refused(raster.read_mask, save(other)) == (
        f"its transparency and its colours are different masks{SAVE}"
    )
    jpeg = save(DRAWN * WHITE, "mask.png", format="JPEG")
    assert refused(raster.read_mask, jpeg) == (
        f"is a JPEG image, and JPEG changes the pixels at a mask's edge{SAVE}"
    )


def test_a_tree_of_crops_with_masks_in_the_alpha_channel(tmp_path, make_settings):
    for kind in ("images", "gt"):
        (tmp_path / kind / "p1").mkdir(parents=True)
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "images" / "p1" / "z-1.0_c0.png")
    for k, pixels in enumerate((DRAWN * WHITE, rgba(WHITE, DRAWN * WHITE))):
        Image.fromarray(pixels).save(tmp_path / "gt" / "p1" / f"z-1.0_c0_l{k}.png")
    settings = make_settings(tmp_path, source="crops")
    (record,) = sources.records(settings, collections.Counter())
    np.testing.assert_array_equal(record.masks, [DRAWN, DRAWN])


def test_spacing_and_unit_of_a_file_without_them(save):
    path = save(RAMP.astype(np.uint8))
    picture = images.read(path, unit="arbitrary", spacing_mm=(0.7, 0.9))
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.7, 0.9]), strict=True)
    assert picture.intensity_unit == "arbitrary"
    np.testing.assert_array_equal(picture.image[..., 0], RAMP)
    for wrong in ((0.0, 1.0), (1.0, -1.0), (np.inf, 1.0), (np.nan, 1.0)):
        with pytest.raises(InputError, match="give two sizes in mm above 0"):
            images.read(path, spacing_mm=wrong)
    assert refused(lambda path: images.read(path, axis=0), path) == (
        "only a NIfTI file has axes to choose from; leave the axis out"
    )
