"""The papers' pictures, against crops cut by hand and against torchvision."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from PIL import Image

from holdfast.core.errors import UsageError
from holdfast.data.augment import EvalTransform, TenCrop, TrainTransform, eval_side, keyed_uniforms
from holdfast.data.cache import ImageStore, load_image, resize_image
from holdfast.data.folder import scan
from holdfast.data.frame import Frame, pixels, side_of
from holdfast.data.loader import make_loaders
from holdfast.data.protocols import PROTOCOLS, CropTransform, smoothed, train_transform, window

from .conftest import MakeFolder, paint

KEPT = {"zhong2020": 250, "li2018": 256, "li2018-star": 256, "wan2019": 256, "li2020": 256}


def picture(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def solid(width, height, colour=(200, 100, 50)):
    return Image.new("RGB", (width, height), colour)


# -- frames ----------------------------------------------------------------------------------------------
def test_a_padded_picture_keeps_its_aspect_on_black():
    framed = resize_image(solid(100, 50), Frame(250, "padded"))
    assert framed.shape == (3, 250, 250)
    colour = torch.tensor([200, 100, 50], dtype=torch.uint8).view(3, 1, 1)
    # 250 wide and 125 high: 62 black rows above, 63 below
    assert torch.equal(framed[:, 62:187], colour.expand(3, 125, 250))
    assert not framed[:, :62].any()
    assert not framed[:, 187:].any()
    tall = resize_image(solid(1, 1000), Frame(250, "padded"))
    assert tall[:, :, 124].all()
    assert int(tall.any(0).sum()) == 250


def test_a_square_loses_the_aspect():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 90, 3), dtype=np.uint8))
    framed = resize_image(image, Frame(16, "square"))
    assert torch.equal(
        framed, torch.from_numpy(np.array(image.resize((16, 16), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    )
    assert resize_image(solid(500, 10), Frame(16, "square")).shape == (3, 16, 16)


def test_sides_and_frames():
    assert side_of(20, "shorter") == 20
    assert side_of(20, "padded") == Frame(20, "padded")
    assert (pixels(20), pixels(Frame(20, "square"))) == (20, 20)
    with pytest.raises(UsageError, match="at least 1 pixel"):
        Frame(0, "square")


@pytest.mark.parametrize("cache", ["ram", "disk", "off"])
@pytest.mark.parametrize("fit", ["square", "padded"])
def test_every_cache_keeps_the_same_framed_bytes(make_folder: MakeFolder, tmp_path, cache, fit):
    root = make_folder({"cat": 3, "dog": 3})
    frame = Frame(12, fit)
    index = scan(root, side=frame)
    assert index.decoded.side == frame
    store = ImageStore.build(index, side=frame, cache=cache, cache_dir=tmp_path / "cache")
    for position, sample in enumerate(store.samples):
        assert torch.equal(store[position], load_image(root / sample.path, frame))
    if cache == "disk":
        other = ImageStore.build(index, side=12, cache=cache, cache_dir=tmp_path / "cache")
        assert other[0].shape != store[0].shape
        assert len(list((tmp_path / "cache").iterdir())) == 2


# -- training --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_keeps_what_its_paper_prints_at_224(name):
    protocol = PROTOCOLS[name]
    assert eval_side(224, protocol.crop) == KEPT[name] == protocol.kept
    assert protocol.ours
    assert eval_side(112, protocol.crop) == protocol.kept // 2


def test_a_plain_crop_is_the_pictures_own_bytes():
    image = picture(256, 256)
    transform = train_transform("wan2019", 224, seed=3)
    mirrored = 0
    for sample in range(20):
        down, right, _, _, mirror = keyed_uniforms(3, 5, sample)
        top, left = int(down * 33), int(right * 33)
        expected = image[:, top : top + 224, left : left + 224]
        mirrored += mirror < 0.5
        found = transform(image, epoch=5, sample=sample)
        assert torch.equal(found, expected.flip(-1) if mirror < 0.5 else expected)
        assert found.is_contiguous() or mirror < 0.5
    assert 0 < mirrored < 20


def test_every_place_is_drawn_and_none_outside():
    transform = CropTransform(2, seed=0, flip=0)
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4)
    corners = {int(transform(image, epoch=0, sample=k)[0, 0, 0]) for k in range(300)}
    assert corners == {0, 1, 2, 4, 5, 6, 8, 9, 10}
    whole = CropTransform(4, seed=0, flip=0)(image, epoch=0, sample=0)
    assert torch.equal(whole, image)
    whole.zero_()
    assert image.any()
    with pytest.raises(UsageError, match="a crop of 5 does not fit into a kept picture of 4×4"):
        CropTransform(5, seed=0)(image, epoch=0, sample=0)


@pytest.mark.parametrize("name", ["crops", *PROTOCOLS])
def test_augmentation_is_a_function_of_seed_epoch_and_sample(name):
    image = picture(256, 256)
    state = torch.get_rng_state()
    found = [train_transform(name, 224, seed)(image, epoch=e, sample=s) for seed, e, s in np.ndindex(2, 2, 2)]
    again = [train_transform(name, 224, seed)(image, epoch=e, sample=s) for seed, e, s in np.ndindex(2, 2, 2)]
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert len({x.numpy().tobytes() for x in found}) == 8
    assert all(x.dtype == torch.uint8 and x.shape == (3, 224, 224) for x in found)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_quarter_turn_is_exact():
    image = picture(10, 10)
    for degrees, turns in ((90, 1), (180, 2), (-90, -1)):
        expected = image.rot90(turns, (-2, -1))[:, 2:7, 1:6]
        assert torch.equal(window(image, 2, 1, 5, degrees=degrees), expected)


def test_a_window_twice_as_large_by_hand():
    # one row 0 … 70; magnified twice about its centre, x = 4 ↦ 4 + (p − 4)/2
    row = torch.arange(8, dtype=torch.uint8).mul(10).view(1, 1, 8).expand(1, 8, 8)
    found = window(row, 0, 0, 8, magnified=2.0)[0, 4]
    centres = [4 + (p + 0.5 - 4) / 2 - 0.5 for p in range(8)]
    assert found.tolist() == [int(torch.tensor(10 * c).round()) for c in centres]
    shrunk = window(row, 0, 0, 8, magnified=0.5)[0]
    assert not shrunk[0].any()
    assert not shrunk[:, 0].any()  # black outside
    assert shrunk[4].tolist() == [0, 0, 5, 25, 45, 65, 0, 0]


def test_turning_agrees_with_torchvision():
    image = picture(40, 40)
    smooth = smoothed(smoothed(image))
    found = window(smooth, 0, 0, 40, magnified=1.05, degrees=4.0)
    theirs = reference.affine(
        smooth,
        angle=-4.0,
        translate=[0, 0],
        scale=1.05,
        shear=[0, 0],
        interpolation=reference.InterpolationMode.BILINEAR,
    )
    assert (found.int() - theirs.int()).abs().max() <= 1


def test_smoothing_by_hand():
    image = torch.zeros(1, 5, 5, dtype=torch.uint8)
    image[0, 2, 2] = 160
    expected = torch.tensor([[10, 20, 10], [20, 40, 20], [10, 20, 10]], dtype=torch.uint8)
    assert torch.equal(smoothed(image)[0, 1:4, 1:4], expected)
    assert smoothed(image).sum() == 160
    edge = torch.tensor([[[100, 0]]], dtype=torch.uint8)
    assert smoothed(edge).tolist() == [[[75, 25]]]  # the edge is repeated
    flat = torch.full((3, 4, 4), 255, dtype=torch.uint8)
    assert torch.equal(smoothed(flat), flat)


def test_half_of_li2018_is_smoothed_and_zhong2020_is_never_mirrored():
    image = picture(256, 256)
    plain, blurred = 0, 0
    for sample in range(40):
        (smooth, *_) = keyed_uniforms(0, 0, sample, 1)
        found = train_transform("li2018", 224, 0)(image, epoch=0, sample=sample)
        sharp = train_transform("wan2019", 224, 0)(image, epoch=0, sample=sample)
        assert torch.equal(found, smoothed(sharp) if smooth < 0.5 else sharp)
        plain, blurred = plain + (smooth >= 0.5), blurred + (smooth < 0.5)
    assert min(plain, blurred) > 10
    # left half bright: it stays on the left however little it is turned
    half = torch.zeros(3, 250, 250, dtype=torch.uint8)
    half[:, :, :100] = 255
    for sample in range(20):
        found = train_transform("zhong2020", 224, 0)(half, epoch=0, sample=sample).float()
        assert found[:, :, :40].mean() > 200
        assert found[:, :, -40:].mean() < 20


@pytest.mark.parametrize(
    "options", [{"flip": 1.5}, {"blur": -0.1}, {"scale": (1.2, 1.0)}, {"scale": (0, 1)}, {"degrees": 200}]
)
def test_bounds_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match="expected size"):
        CropTransform(8, seed=0, **options)


def test_an_unknown_protocol_is_refused():
    assert isinstance(train_transform("crops", 8, 0), TrainTransform)
    with pytest.raises(UsageError, match="unknown preparation of pictures 'li2019'"):
        train_transform("li2019", 224, 0)


# -- testing ---------------------------------------------------------------------------------------------
def test_ten_crops_of_a_padded_picture_by_hand():
    protocol = PROTOCOLS["zhong2020"]
    kept = picture(250, 250)
    crops = TenCrop(224, protocol.crop)(kept)
    mirrored = kept.flip(-1)
    places = [(0, 0), (0, 26), (26, 0), (26, 26), (13, 13)]
    expected = [side[:, t : t + 224, x : x + 224] for side in (kept, mirrored) for t, x in places]
    assert torch.equal(crops, torch.stack(expected))


def test_the_centre_of_a_square_by_hand():
    kept = picture(256, 256)
    assert torch.equal(EvalTransform(224, PROTOCOLS["li2018"].crop)(kept), kept[:, 16:240, 16:240])


def test_loaders_of_a_protocol(make_folder: MakeFolder):
    index = scan(make_folder({"cat": 6, "dog": 6}))
    protocol = PROTOCOLS["zhong2020"]
    options = {"size": 32, "batch_size": 4, "seed": 0, "transform": "zhong2020", "crop_ratio": protocol.crop}
    loaders = make_loaders(index, **options, fit=protocol.fit, ten_crop=True)
    x, _, places = next(iter(loaders["test"]))
    assert x.shape[1:] == (10, 3, 32, 32)
    sample = index.parts["test"][int(places[0])]
    kept = load_image(index.root / sample.path, Frame(36, "padded"))
    assert torch.equal(x[0], TenCrop(32, protocol.crop)(kept))
    x, _, places = next(iter(loaders["train"]))
    sample = index.parts["train"][int(places[0])]
    kept = load_image(index.root / sample.path, Frame(36, "padded"))
    assert torch.equal(x[0], train_transform("zhong2020", 32, 0)(kept, epoch=0, sample=int(places[0])))


def test_a_photograph_is_framed_from_its_file(tmp_path):
    file = paint(tmp_path / "a.png", 0, size=(40, 20))
    framed = load_image(file, Frame(10, "padded"))
    assert not framed[:, [0, 1, 7, 8, 9]].any()
    assert framed[:, 2:7].any()
