"""Crops by hand, draws by distribution, and no generator touched."""

import random

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from holdfast.core.errors import UsageError
from holdfast.data.augment import EvalTransform, TenCrop, TrainTransform, eval_side, keyed_uniforms, normalise


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_train_transform_depends_on_seed_epoch_and_sample_alone() -> None:
    image = picture(40, 50)
    transform = TrainTransform(24, seed=3)
    first = transform(image, epoch=2, sample=5)
    assert first.shape == (3, 24, 24)
    assert first.dtype == torch.uint8
    torch.manual_seed(99)
    assert torch.equal(first, TrainTransform(24, seed=3)(image.clone(), epoch=2, sample=5))
    for other in (
        transform(image, epoch=3, sample=5),
        transform(image, epoch=2, sample=6),
        TrainTransform(24, seed=4)(image, epoch=2, sample=5),
    ):
        assert not torch.equal(first, other)


def test_global_generators_stay_where_they_are() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    TrainTransform(24, seed=3)(picture(40, 50), epoch=0, sample=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])


def test_the_picture_is_not_written_to() -> None:
    image = picture(40, 40)
    copy = image.clone()
    TrainTransform(40, seed=0, scale=(1, 1), ratio=(1, 1))(image, epoch=0, sample=0).zero_()
    EvalTransform(40, 1.0)(image).zero_()
    TenCrop(40, 1.0)(image).zero_()
    assert torch.equal(image, copy)


def test_uniform_draws_are_uniform_and_independent() -> None:
    draws = torch.tensor([keyed_uniforms(0, epoch, sample) for epoch in range(20) for sample in range(200)])
    assert draws.min() >= 0
    assert draws.max() < 1
    n = len(draws)
    # Five standard errors of a uniform's mean, and of a correlation.
    assert (draws.mean(0) - 0.5).abs().max() < 5 * (1 / 12 / n) ** 0.5
    assert (torch.corrcoef(draws.T) - torch.eye(5)).abs().max() < 5 / n**0.5


def test_draws_are_the_same_on_every_machine() -> None:
    import hashlib

    word = int.from_bytes(
        hashlib.blake2b(b"".join(v.to_bytes(8, "little") for v in (7, 1, 2)), digest_size=40).digest()[:8], "little"
    )
    assert keyed_uniforms(7, 1, 2)[0] == (word >> 11) / 2**53
    assert keyed_uniforms(2**64 + 7, 1, 2) == keyed_uniforms(7, 1, 2)


def test_windows_keep_to_the_bounds() -> None:
    transform = TrainTransform(24, seed=0, scale=(0.3, 0.6), ratio=(0.8, 1.25))
    areas, tops = [], []
    for sample in range(500):
        top, left, tall, wide = transform.window(100, 140, keyed_uniforms(0, 0, sample))
        assert 0 <= top <= 100 - tall
        assert 0 <= left <= 140 - wide
        assert 0.78 < wide / tall < 1.28
        areas.append(tall * wide / 14_000)
        tops.append((top + 0.5) / (100 - tall + 1))
    assert 0.29 < min(areas) < 0.32
    assert 0.58 < max(areas) < 0.61
    assert min(tops) < 0.02
    assert max(tops) > 0.95


def test_corners_of_the_draws() -> None:
    transform = TrainTransform(24, seed=0, scale=(0.25, 1.0), ratio=(0.25, 4.0))
    almost = 1 - 2**-53
    assert transform.window(40, 40, (0, 0.5, 0, 0)) == (0, 0, 20, 20)
    assert transform.window(40, 40, (0, 0.5, almost, almost)) == (20, 20, 20, 20)
    assert transform.window(40, 40, (0, 0, 0, 0)) == (0, 0, 40, 10)
    assert transform.window(40, 40, (1, 1, almost, almost)) == (20, 0, 20, 40)
    assert transform.window(1, 1, (0, 0, almost, almost)) == (0, 0, 1, 1)


def test_whole_window_without_resize_is_the_picture_or_its_mirror() -> None:
    image = picture(16, 16)
    transform = TrainTransform(16, seed=0, scale=(1, 1), ratio=(1, 1))
    results = [transform(image, epoch=0, sample=sample) for sample in range(400)]
    mirrored = sum(torch.equal(result, image.flip(-1)) for result in results)
    assert mirrored + sum(torch.equal(result, image) for result in results) == 400
    assert abs(mirrored - 200) < 5 * 10
    never = TrainTransform(16, seed=0, scale=(1, 1), ratio=(1, 1), flip=0)
    assert torch.equal(never(image, epoch=0, sample=1), image)


@pytest.mark.parametrize(
    "options", [{"scale": (0, 1)}, {"scale": (0.9, 0.5)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}, {"flip": 2}]
)
def test_bounds_out_of_range(options: dict) -> None:
    with pytest.raises(UsageError, match="scale"):
        TrainTransform(24, seed=0, **options)
    with pytest.raises(UsageError, match="crop ratio"):
        EvalTransform(24, 1.2)


@pytest.mark.parametrize("shape", [(40, 40), (40, 57), (58, 40), (41, 40)])
def test_eval_transform_of_a_kept_picture_is_torchvisions_centre_crop(shape: tuple[int, int]) -> None:
    transform = EvalTransform(35)
    assert transform.side == eval_side(35, 0.875) == 40
    image = picture(*shape)
    assert torch.equal(transform(image), reference.center_crop(image, [35, 35]))


@pytest.mark.parametrize("shape", [(60, 80), (25, 30), (90, 61)])
def test_eval_transform_resizes_other_pictures(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    whole = reference.pil_to_tensor(reference.resize(reference.to_pil_image(image), [40]))
    off = EvalTransform(35)(image).int() - reference.center_crop(whole, [35, 35]).int()
    assert off.abs().max() <= 1  # torch and Pillow round between their two passes differently


def test_ten_crops_by_hand() -> None:
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4)
    crops = TenCrop(2, 0.5)(image)
    assert crops.shape == (10, 1, 2, 2)
    assert crops.flatten(1).tolist() == [
        [0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15], [5, 6, 9, 10],
        [3, 2, 7, 6], [1, 0, 5, 4], [11, 10, 15, 14], [9, 8, 13, 12], [6, 5, 10, 9],
    ]  # fmt: skip


def test_ten_crops_are_torchvisions() -> None:
    image = picture(40, 53)
    assert torch.equal(TenCrop(35)(image), torch.stack(reference.ten_crop(image, [35, 35])))


def test_normalise_by_hand_and_on_ten_crops() -> None:
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    batch = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    expected = torch.tensor([-1.0, 3.0, 0.2]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    found = normalise(batch, mean, std)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(normalise(batch.unsqueeze(1), mean, std), expected.unsqueeze(1))


def test_normalise_is_torchvisions() -> None:
    image = picture(9, 9)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    torch.testing.assert_close(normalise(image, mean, std), reference.normalize(image / 255, mean, std))
