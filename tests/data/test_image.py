import io
import warnings

import numpy as np
import pytest
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.image import centre, check_rgb, decode_image, fit_image, fitted_size, read_image, write_image

RAMP = np.linspace(0, 255, 32).astype(np.uint8)[None, :].repeat(32, axis=0)
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)


def save(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["image.png", "image.webp", "image.bmp", "image.tiff"])
def test_colours_come_through(tmp_path, name):
    path = save(tmp_path, Image.fromarray(COLOURS), name, **({"lossless": True} if name.endswith("webp") else {}))
    np.testing.assert_array_equal(read_image(path), COLOURS)


def test_grey_becomes_rgb(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path, Image.fromarray(RAMP)))[..., 1], RAMP)


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    path = save(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257), name)
    np.testing.assert_array_equal(read_image(path)[..., 0], RAMP)


def test_dark_sixteen_bits_stay_dark(tmp_path):
    path = save(tmp_path, Image.fromarray(np.full((32, 32), 200, dtype=np.uint16)))
    assert read_image(path).max() == 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floating_point_grey(tmp_path, white):
    path = save(tmp_path, Image.fromarray((RAMP / 255 * white).astype(np.float32)), "float.tiff")
    assert np.abs(read_image(path)[..., 2].astype(int) - RAMP).max() <= 1


def test_cmyk_jpeg(tmp_path):
    patch = Image.new("RGB", (32, 32), (200, 40, 40)).convert("CMYK")
    found = read_image(save(tmp_path, patch, "cmyk.jpg", quality=95))
    assert np.abs(found.astype(int) - (200, 40, 40)).max() < 6


def test_palette(tmp_path):
    path = save(tmp_path, Image.new("RGB", (32, 32), (10, 200, 30)).quantize(4))
    assert read_image(path)[5, 5].tolist() == [10, 200, 30]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(tmp_path, mode):
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 16, 32))
    if mode == "P":
        image = image.quantize(4)
    found = read_image(save(tmp_path, image.convert(mode)))
    assert found[4, 4].tolist() == [255, 255, 255]
    assert found[4, 28].tolist() == [0, 0, 0]


def test_half_transparency_mixes_with_white(tmp_path):
    found = read_image(save(tmp_path, Image.new("RGBA", (32, 32), (0, 0, 0, 128))))
    assert abs(int(found[0, 0, 0]) - 127) <= 1


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (48, 32))
    image.paste((255, 0, 0), (0, 0, 24, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show
    found = read_image(save(tmp_path, image, exif=exif))
    assert found.shape == (48, 32, 3)
    assert found[4, 16].tolist() == [255, 0, 0]
    assert found[44, 16].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png"])
def test_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (32, 32), colour) for colour in [(250, 0, 0), (0, 250, 0)]]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], duration=40, **options)
    assert read_image(path)[9, 9].tolist() == [250, 0, 0]


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).resize((200, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def png(width, height) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


BAD = {
    "missing.png": (None, "does not exist"),
    "empty.png": (b"", "empty"),
    "text.jpg": (b"this is no image\n" * 9, "give a JPEG"),
    "truncated.jpg": (jpeg()[:-900], "damaged"),
    "truncated.png": (png(64, 64)[:-30], "damaged"),
    "broken.png": (png(64, 64).replace(b"IDAT", b"IDAX"), "give a JPEG"),
    "dot.png": (png(1, 1), "at least 16"),
    "narrow.png": (png(15, 500), "at least 16"),
    "strip.png": (png(16, 4000), "crop"),
    "large.png": (png(11_000, 11_000), "megapixels"),
    "bomb.png": (png(20_000, 10_000), "megapixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images(tmp_path, name):
    content, remedy = BAD[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError, match=remedy) as caught:
            read_image(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_folder_is_no_image(tmp_path):
    with pytest.raises(MediaError, match="folder"):
        read_image(tmp_path)


def test_name_with_a_nul_byte(tmp_path):
    with pytest.raises(MediaError):
        read_image(tmp_path / "a\0b.png")


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (64, 64), (20, 30)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_fitted_images_are_squares(size, fit):
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    assert fit_image(image, 64, fit).shape == (64, 64, 3)


def test_crop_keeps_the_centre():
    image = np.zeros((64, 192, 3), dtype=np.uint8)
    image[:, 64:128] = 200
    assert fit_image(image, 64, "crop").min() == 200


def test_pad_keeps_the_whole_between_black_bars():
    image = np.full((64, 128, 3), 200, dtype=np.uint8)
    found = fit_image(image, 64, "pad")
    assert found[:16].max() == 0
    assert found[16:48].min() == 200
    assert found[48:].max() == 0


def test_stretch_keeps_the_borders():
    image = np.zeros((64, 192, 3), dtype=np.uint8)
    image[:, :48] = 200
    found = fit_image(image, 64, "stretch")
    assert found[:, :14].min() == 200
    assert found[:, 18:].max() == 0


def test_shrinking_does_not_alias():
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_image(stripes, 64)[:, 4:-4].astype(int) - 127).max() <= 2


def test_an_image_that_fits_is_not_touched():
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    assert fit_image(image, 64) is image


@pytest.mark.parametrize(
    ("width", "height", "fit", "expected"), [(1280, 720, "crop", (455, 256)), (720, 1280, "pad", (144, 256))]
)
def test_fitted_size(width, height, fit, expected):
    assert fitted_size(width, height, 256, fit) == expected


def test_centre_of_odd_differences():
    assert centre(np.zeros((65, 64, 3), dtype=np.uint8), 64).shape == (64, 64, 3)
    assert centre(np.zeros((63, 64, 3), dtype=np.uint8), 64).shape == (64, 64, 3)


def test_write_and_read_back(tmp_path):
    write_image(tmp_path / "out.png", COLOURS)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), COLOURS)
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_a_failed_write_keeps_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"earlier")

    def fail(target, content):
        with target.open("wb") as file:
            file.write(content[:4])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(MediaError, match="space"):
        write_image(path, COLOURS)
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_write_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real.png").write_bytes(b"earlier")
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    write_image(tmp_path / "link.png", COLOURS)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "real.png"), COLOURS)


@pytest.mark.parametrize(
    ("name", "remedy"), [("no/out.png", "create it"), ("out.txt", "end in"), ("dir.png", "folder")]
)
def test_bad_outputs(tmp_path, name, remedy):
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(MediaError, match=remedy):
        write_image(tmp_path / name, COLOURS)


def test_an_open_file_is_decoded_under_the_name_and_the_limit_that_it_is_given(tmp_path):
    write_image(tmp_path / "a.png", np.full((40, 50, 3), 7, np.uint8))
    content = (tmp_path / "a.png").read_bytes()
    assert np.array_equal(decode_image(io.BytesIO(content), "it"), read_image(tmp_path / "a.png"))
    with pytest.raises(MediaError, match="it has 50 x 40 pixels"):
        decode_image(io.BytesIO(content), "it", max_pixels=1999)
    with pytest.raises(MediaError, match="it is damaged"):
        decode_image(io.BytesIO(content[:90]), "it")
    with pytest.raises(MediaError, match="it is not an image"):
        decode_image(io.BytesIO(b""), "it")


RGB = np.zeros((20, 30, 3), dtype=np.uint8)


def test_pictures_that_are_taken():
    for picture in (RGB, RGB[::-1, ::2], np.asfortranarray(RGB)):
        check_rgb(picture)


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (RGB / 255.0, r"float64 of shape \(20, 30, 3\)"),
        (RGB.astype(np.int64), "int64"),
        (RGB[..., 0], r"uint8 of shape \(20, 30\)"),
        (RGB[..., [0, 1, 2, 2]], r"\(20, 30, 4\)"),
        (RGB.transpose(2, 0, 1), r"\(3, 20, 30\)"),
        (RGB[:0], r"\(0, 30, 3\)"),
        (Image.fromarray(RGB), "this is Image"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_told_with_the_remedy(picture, found):
    with pytest.raises(MediaError, match=rf"uint8 of shape \(height, width, 3\).*{found}.*convert\('RGB'\)"):
        check_rgb(picture)
