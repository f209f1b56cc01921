import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metarun.tasks.rng import choose, random_bits, root_key, split_key, uniform

KEYS = st.integers(-(2**63), 2**63 - 1)


def splitmix64(state: int, count: int) -> list[int]:
    """Return numbers of the published generator in Python integers."""
    mask, numbers = 2**64 - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


@given(key=KEYS)
def test_bits_equal_splitmix64(key):
    ours = random_bits(torch.tensor(key), 5)
    assert [value % 2**64 for value in ours.tolist()] == splitmix64(key % 2**64, 5)


def test_the_first_number_for_seed_zero_equals_the_published_one():
    assert random_bits(torch.tensor(0), 1).item() % 2**64 == 0xE220A8397B1DCDAF


@given(key=KEYS, population=st.integers(1, 60), data=st.data())
def test_choose_draws_different_members_of_the_population(key, population, data):
    count = data.draw(st.integers(1, population))
    drawn = choose(torch.tensor(key), torch.tensor(population), count).tolist()
    assert len(set(drawn)) == count
    assert min(drawn) >= 0
    assert max(drawn) < population


def test_choose_supports_a_population_per_key():
    population = torch.tensor([3, 7, 100])
    drawn = choose(split_key(1, torch.arange(3)), population, 3)
    assert (drawn < population[:, None]).all()
    assert sorted(drawn[0].tolist()) == [0, 1, 2]


def test_every_ordered_draw_is_equally_likely():
    keys = split_key(root_key("order"), torch.arange(60_000))
    drawn = choose(keys, torch.full_like(keys, 4), 3)
    _, counts = np.unique(drawn @ torch.tensor([16, 4, 1]), return_counts=True)
    assert len(counts) == 4 * 3 * 2
    assert stats.chisquare(counts).pvalue > 1e-3


def test_uniform_numbers_fill_the_unit_interval_evenly():
    numbers = uniform(split_key(root_key("uniform"), torch.arange(100)), 500).flatten().numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3


def test_neighbouring_keys_are_uncorrelated():
    keys = split_key(root_key("train", 0), torch.arange(5000))
    first, other = uniform(keys, 1).flatten().numpy(), uniform(split_key(keys, 0), 1).flatten().numpy()
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.05


def test_root_keys_differ_by_every_word():
    assert len({root_key("train", 0), root_key("train", 1), root_key("val", 0), root_key("train", "0|")}) == 4
