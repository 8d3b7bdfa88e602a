"""A network without a face: built loosely, attached, split, taken back."""

import numpy as np
import pytest

import culpa
from culpa.network.network import Network
from culpa.parts.architecture import Architecture

LAYERS = (culpa.Dense(4, "relu"), culpa.Dense(2))
UNBUILT = Architecture(LAYERS, culpa.CrossEntropy(), seed=3)
BUILT = UNBUILT.with_inputs(3)


def state(network: Network) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in network.state_dict().items()}


def test_a_core_that_it_makes_is_its_own_only_once_attached() -> None:
    network = Network(UNBUILT)
    core = network.initial_core(3)
    assert not network.is_built
    with pytest.raises(RuntimeError, match="no weights yet"):
        network.state_dict()
    network.attach(core, 3)
    assert network.core is core
    assert network.architecture == BUILT
    assert state(network) == state(Network(BUILT))


def test_it_splits_a_flat_vector_into_views_that_cover_all_but_the_gaps() -> None:
    network = Network(BUILT)
    flat = np.zeros_like(network.core.parameters())
    for array in network.split(flat).values():
        array += 1.0
    assert flat.sum() == 3 * 4 + 4 + 4 * 2 + 2
    assert {name: a.shape for name, a in network.split(flat).items()} == BUILT.shapes()


@pytest.mark.parametrize("architecture", [UNBUILT, BUILT], ids=["unbuilt", "built"])
def test_a_snapshot_brings_back_all_of_it(architecture: Architecture) -> None:
    network = Network(architecture)
    core = network.core if network.is_built else network.initial_core(3)
    begun = network.snapshot(core, moments=True)
    network.attach(core, 3)
    network.name_features(("a", "b", "c"))
    before = state(network)
    network.load_state_dict({name: np.ones(a) for name, a in BUILT.shapes().items()})
    network.epochs = 5
    network.restore(begun)
    assert (network.architecture, network.epochs) == (architecture, 0)
    assert network.is_built is (architecture is BUILT)
    if network.is_built:
        assert state(network) == before


def test_a_copy_goes_its_own_way() -> None:
    network = Network(BUILT)
    before = state(network)
    other = network.copy()
    other.load_state_dict({name: np.ones(a) for name, a in BUILT.shapes().items()})
    assert state(network) == before != state(other)


@pytest.mark.parametrize("n_bad", ["y", "class_weight"])
def test_a_fit_that_is_refused_leaves_a_model_unbuilt(n_bad: str) -> None:
    model = culpa.Sequential(LAYERS, "cross_entropy")
    options = {"class_weight": {9: 1.0}} if n_bad == "class_weight" else {}
    with pytest.raises(ValueError, match=n_bad):
        model.fit(np.zeros((4, 3)), [0, 1, 2, 3] if n_bad == "y" else [0, 1, 0, 1], **options)
    assert model.input_size is None
    assert model.fit(np.zeros((4, 5)), [0, 1, 0, 1], epochs=1, verbose=False).epochs == 1
