"""Batches: order and augmentation by seed and epoch, whatever loads them."""

import pytest
import torch

from holdfast.core.errors import UsageError
from holdfast.data.augment import EvalTransform, TrainTransform
from holdfast.data.cache import ImageStore
from holdfast.data.folder import scan
from holdfast.data.loader import (
    EpochSampler,
    ImageDataset,
    batches,
    epoch_order,
    last_batch_note,
    make_loaders,
    set_epoch,
)

from .conftest import MakeFolder

OPTIONS = {"size": 14, "batch_size": 5, "seed": 5}


@pytest.fixture
def index(make_folder: MakeFolder):
    return scan(make_folder({"cat": 9, "dog": 12}), side=16)


def epoch(loader, number):
    set_epoch(loader, number)
    return [tuple(part.clone() for part in batch) for batch in loader]


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_order_is_a_permutation_by_seed_and_epoch() -> None:
    state = torch.get_rng_state()
    orders = [epoch_order(50, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(50, seed=1, epoch=0) == orders[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_repeat_by_seed_and_epoch(index) -> None:
    first, again = (make_loaders(index, **OPTIONS)["train"] for _ in range(2))
    other = make_loaders(index, **{**OPTIONS, "seed": 6})["train"]
    epochs = [epoch(first, number) for number in (0, 1)]
    assert same(epoch(again, 1), epochs[1])
    assert same(epoch(again, 0), epochs[0])
    assert not same(*epochs)
    assert not same(epoch(other, 0), epochs[0])
    for batch in epochs:
        assert sorted(int(i) for *_, places in batch for i in places) == list(range(len(index.parts["train"])))


def test_augmentation_changes_with_the_epoch_for_the_same_picture(index) -> None:
    loader = make_loaders(index, **OPTIONS)["train"]
    views = [
        {int(i): image for images, _, places in epoch(loader, number) for image, i in zip(images, places, strict=True)}
        for number in (0, 1)
    ]
    changed = [not torch.equal(views[0][i], views[1][i]) for i in views[0]]
    assert all(changed)


@pytest.mark.parametrize("cache", ["ram", "disk", "off"])
def test_loading_processes_give_the_same_batches(index, tmp_path, cache: str) -> None:
    inline, parallel = (
        make_loaders(index, **OPTIONS, cache=cache, cache_dir=tmp_path, workers=workers) for workers in (0, 2)
    )
    for number in (0, 1):
        assert same(epoch(inline["train"], number), epoch(parallel["train"], number))
    assert same(list(inline["val"]), list(parallel["val"]))


def test_kept_loading_processes_see_the_epoch(index) -> None:
    samples = index.parts["train"]
    dataset = ImageDataset(ImageStore.build(index, side=16).select(samples), samples, TrainTransform(14, seed=5))
    sampler = EpochSampler(len(samples), seed=5, dataset=dataset)
    kept = torch.utils.data.DataLoader(dataset, batch_size=5, sampler=sampler, num_workers=1, persistent_workers=True)
    plain = make_loaders(index, **OPTIONS)["train"]
    for number in (0, 3):
        assert same(epoch(kept, number), epoch(plain, number))


def test_labels_and_positions_belong_to_the_pictures(index) -> None:
    loaders = make_loaders(index, **OPTIONS, augment=False)
    store = ImageStore.build(index, side=16)
    for part, samples in index.parts.items():
        pictures = store.select(samples)
        seen = []
        for images, labels, places in loaders[part]:
            assert images.dtype == torch.uint8
            for image, label, place in zip(images, labels.tolist(), places.tolist(), strict=True):
                assert label == samples[place].label
                assert torch.equal(image, EvalTransform(14)(pictures[place]))
                seen.append(place)
        assert sorted(seen) == list(range(len(samples)))
        assert part == "train" or seen == sorted(seen)


def test_ten_crop_batches(index) -> None:
    loaders = make_loaders(index, **OPTIONS, ten_crop=True)
    assert next(iter(loaders["val"]))[0].shape == (4, 10, 3, 14, 14)
    assert next(iter(loaders["train"]))[0].shape == (5, 3, 14, 14)


def test_loading_leaves_the_global_generator_alone(index) -> None:
    loaders = make_loaders(index, **OPTIONS)
    state = torch.get_rng_state()
    for loader in loaders.values():
        list(loader)
    assert torch.equal(torch.get_rng_state(), state)


def test_absent_part_has_no_loader(make_folder: MakeFolder) -> None:
    assert set(make_loaders(scan(make_folder({"a": 4, "b": 4}), test_fraction=0), **OPTIONS)) == {"train", "val"}


@pytest.mark.parametrize(
    ("batch_size", "batch_sizes"), [(4, [4, 4, 4]), (5, [5, 5, 3]), (12, [12]), (13, [13]), (20, [13]), (1, [1] * 13)]
)
def test_last_batch_is_kept_unless_it_is_one_picture(index, batch_size: int, batch_sizes: list[int], caplog) -> None:
    assert len(index.parts["train"]) == 13
    with caplog.at_level("INFO"):
        loader = make_loaders(index, **{**OPTIONS, "batch_size": batch_size})["train"]
    assert [len(labels) for _, labels, _ in loader] == batch_sizes
    assert len(loader) == len(batch_sizes)
    said = last_batch_note(13, batch_size) is not None
    assert said == (sum(batch_sizes) < 13)
    assert ("one picture" in caplog.text) == said


def test_a_single_picture_is_kept() -> None:
    assert last_batch_note(1, 4) is None
    assert last_batch_note(9, 4, world=2) is not None
    assert last_batch_note(9, 4) is not None
    assert last_batch_note(8, 4) is None


@pytest.mark.parametrize(("n", "world"), [(12, 3), (13, 3), (2, 3), (7, 1)])
def test_ranks_share_the_order_evenly(n: int, world: int) -> None:
    samplers = [EpochSampler(n, seed=1, rank=rank, world=world) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(4)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])} == {-(-n // world)}
    interleaved = [place for step in zip(*shares, strict=True) for place in step]
    order = epoch_order(n, seed=1, epoch=4)
    assert interleaved[:n] == order
    assert interleaved[n:] == order[: len(interleaved) - n]


def test_an_epoch_can_be_resumed_once() -> None:
    sampler = EpochSampler(10, seed=0)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, start=4)
    assert list(sampler) == whole[4:]
    assert list(sampler) == whole


def test_wrong_arguments(index) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        make_loaders(index, **{**OPTIONS, "batch_size": 0})
    with pytest.raises(UsageError, match="rank"):
        EpochSampler(10, seed=0, rank=2, world=2)
    with pytest.raises(UsageError, match="EpochSampler, found SequentialSampler"):
        set_epoch(make_loaders(index, **OPTIONS)["val"], 1)
    store = ImageStore.build(index, side=16)
    with pytest.raises(UsageError, match="expected a store"):
        ImageDataset(store, index.parts["val"], EvalTransform(14))
    assert len(batches(ImageDataset(store, index.samples(), EvalTransform(14)), 10)) == 3
