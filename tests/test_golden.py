"""What must never change by accident: the bits of ten trainings, and of models in old files."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import culpa
import helpers
from culpa import _core

FOLDER = Path(__file__).parent / "golden"
sys.path.insert(0, str(FOLDER))
import files  # noqa: E402
import runs  # noqa: E402

RECORDED = json.loads(runs.HASHES.read_text())["hashes"]
SAVED = json.loads(files.ANSWERS.read_text())


@pytest.mark.parametrize("isa", _core.instruction_sets())
def test_trainings_end_in_the_recorded_bits(isa: str) -> None:
    """At one thread and at three; CONTRIBUTING says when the hashes may be recorded anew."""
    if isa not in RECORDED:
        pytest.skip(f"no hashes are recorded for {isa}: tests/golden/runs.py --record does it")
    found = helpers.last_json(
        f"import sys, json; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import runs; print(json.dumps(runs.hashes_here()))",
        CULPA_FORCE_ISA=isa,
    )
    assert found == {name: RECORDED[isa][name] for name in found}
    assert len(found) >= len(runs.RUNS) - 1  # SciPy may be missing


@pytest.mark.parametrize("name", SAVED)
def test_an_old_file_loads_with_the_same_bits(name: str) -> None:
    model = culpa.load(FOLDER / f"{name}.safetensors")
    found = files.answer(model)
    assert found["arrays"] == SAVED[name]["arrays"]
    config: dict[str, Any] = dict(SAVED[name]["config"])
    loss, old = found["config"]["loss"], config.pop("loss")
    assert {key: found["config"][key] for key in config} == config
    assert loss["name"] == old["name"]
    if "parameter" in old:  # of when a loss had one at most, 0 for none
        assert list(loss["parameters"].values()) in ([old["parameter"]], [])
    else:
        assert loss == old
    # Another instruction set may sum in another order.
    np.testing.assert_allclose(found["logits"], SAVED[name]["logits"], rtol=2e-5, atol=1e-6)


def test_a_file_of_another_format_says_so(tmp_path: Path) -> None:
    model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=2)
    metadata = {"culpa": "999", "model": json.dumps(model.config())}
    path = tmp_path / "later.safetensors"
    path.write_bytes(safetensors.numpy.save(model.state_dict(), metadata))
    with pytest.raises(ValueError, match="format is '999', and this version of culpa reads '1'"):
        culpa.load(path)
