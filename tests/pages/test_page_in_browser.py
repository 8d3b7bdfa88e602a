"""The page in a real browser: every step shows, what is printed adds up, nothing else happens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import browser
import culpa
import helpers
from test_page import HOSTILE, hostile_page, read_data

pytestmark = [
    pytest.mark.skipif(
        browser.CHROMIUM is None, reason="no chromium here; Debian has it as chromium"
    ),
    pytest.mark.skipif(
        "CULPA_SANITIZED" in os.environ, reason="sanitizers: nothing of the core runs in a browser"
    ),
]


def problem_page(
    widths: tuple[int, ...], activations: list[str], case: helpers.LossCase, **options: Any
) -> str:
    dtype = options.pop("dtype", "float32")
    problem = helpers.make_problem(widths, activations, case, 2, dtype)
    return culpa.page(problem.model, problem.X, problem.y, 0, **options)


def digits_page() -> str:
    X, y, X_test, y_test = culpa.datasets.digits()
    layers = [culpa.Dense(24, "relu"), culpa.Dense(12, "tanh"), culpa.Dense(10)]
    model = culpa.Sequential(layers, "cross_entropy", input_scale=1 / 16)
    model.fit(X, y, epochs=2, verbose=False)
    return culpa.page(model, X_test, y_test, shape=(8, 8))


def saturated_page() -> str:
    """Slopes of 1e-9 and less, which float32 rounds to 0; and a node of no use at all."""
    model = culpa.Sequential(
        [culpa.Dense(4, "tanh"), culpa.Dense(2, "sigmoid")], "mse", input_size=2
    )
    model.layers[0].weight = [[10.0, 0.3, 4.0, 0.0], [3.0, 0.2, 5.0, 0.0]]
    model.layers[1].weight = [[9.0, 1e-6], [3e5, -1.0], [0.4, 2.0], [0.0, 0.0]]
    return culpa.page(model, [[1.0, 1.0]], [[0.0, 1.0]])


def cancelling_page() -> str:
    """Two signals that cancel but for a ten-thousandth of them, of which float32 rounds the end."""
    model = culpa.Sequential([culpa.Dense(1, "tanh"), culpa.Dense(2)], "mse", input_size=1)
    model.layers[0].weight, model.layers[1].weight = [[0.7]], [[1.1, -1.1]]
    guess = model.predict(np.ones((1, 1), np.float32))
    return culpa.page(model, [[1.0]], guess - [[0.3, 0.30003]], learning_rate=10.0)


def tiny_page() -> str:
    """Error signals of 1e-7: the numbers come in units of a power of ten."""
    model = culpa.Sequential([culpa.Dense(3, "softplus"), culpa.Dense(1)], "mse", input_size=2)
    guess = model.predict(np.ones((1, 2), np.float32))
    return culpa.page(model, np.ones((1, 2)), guess + 3e-7)


def stages_page(stack: str, loss: str = "mse", **options: Any) -> str:
    """A page of layers of other kinds, whose parameters are no longer what they began as."""
    model = culpa.Sequential(helpers.STACKS[stack], loss, input_size=5, **options)
    helpers.shake(model)
    rng = np.random.default_rng(1)
    y = np.array([1]) if loss == "cross_entropy" else rng.normal(size=(1, model.output_size))
    return culpa.page(model, rng.normal(size=(1, 5)), y)


REAL, COUNTS = helpers.LossCase(culpa.MSE(), "real"), helpers.LossCase(culpa.Poisson(), "counts")
BINARY = helpers.LossCase(culpa.BinaryCrossEntropy(), "binary")
PAGES = {
    "digits": digits_page,
    "hostile": hostile_page,
    "saturated": saturated_page,
    "cancelling": cancelling_page,
    "tiny": tiny_page,
    "one-node": lambda: problem_page((1, 1), ["identity"], REAL),
    "table": lambda: problem_page((3, 5, 1), ["gelu", "identity"], REAL),
    "binary": lambda: problem_page((3, 6, 1), ["silu", "identity"], BINARY),
    "multilabel": lambda: problem_page((3, 6, 4), ["elu", "identity"], BINARY),
    "counts": lambda: problem_page((3, 6, 2), ["mish", "identity"], COUNTS),
    "quantile": lambda: problem_page(
        (3, 6, 2), ["selu", "softplus"], helpers.LossCase(culpa.Quantile(0.9), "real")
    ),
    "tweedie": lambda: problem_page(
        (3, 6, 1), ["tanh", "identity"], helpers.LossCase(culpa.Tweedie(), "amounts")
    ),
    "huber": lambda: problem_page(
        (3, 6, 1), ["sigmoid", "identity"], helpers.LossCase(culpa.Huber(0.5), "real")
    ),
    "smoothed": lambda: problem_page(
        (5, 9, 3), ["leaky_relu", "identity"], helpers.LOSSES[1], dtype="float64"
    ),
    "soft": lambda: problem_page((4, 5, 3), ["gelu_tanh", "tanh"], helpers.LOSSES[3]),
    "wide": lambda: problem_page((90, 60, 40, 30), ["relu"] * 2 + ["identity"], helpers.LOSSES[0]),
    "deep": lambda: problem_page((3, *[4] * 12, 2), ["tanh"] * 12 + ["identity"], REAL),
    "scale": lambda: stages_page("scale", "cross_entropy", input_scale=0.5),
    "norm": lambda: stages_page("norm", "cross_entropy"),
    "residual": lambda: stages_page("residual", "cross_entropy"),
    "norm-first-and-last": lambda: stages_page("norm-first-and-last", input_scale=0.5),
    "residual-first-and-last": lambda: stages_page(
        "residual-first-and-last", "mae", dtype="float64"
    ),
    "nested": lambda: stages_page("nested", "huber"),
    "odd": lambda: stages_page("odd", dtype="float64"),
    "colour": lambda: problem_page((60, 5, 2), ["tanh", "identity"], REAL, shape=(4, 5, 3)),
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    with browser.tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def path(folder: Path, request: pytest.FixtureRequest, tab: browser.Tab) -> Path:
    """A page in a file, and a tab with a clean record."""
    path = folder / f"{request.param}.html"
    if not path.exists():
        path.write_text(PAGES[request.param](), encoding="utf-8")
    tab.window(1280, 800)
    tab.requests.clear()
    tab.complaints.clear()
    return path


def every_page(names: Any = PAGES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", names, indirect=True)


def assert_quiet(tab: browser.Tab, path: Path) -> None:
    """No error, no dialog, and nothing loaded but the page itself."""
    tab.run("1")
    assert not tab.complaints
    assert set(tab.requests) <= {path.as_uri(), "about:blank"}, tab.requests


def steps_of(told: dict[str, Any]) -> int:
    return 5 + len(told["columns"])


@every_page()
@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 800, False), (400, 800, True)])
def test_every_step_shows(
    tab: browser.Tab, path: Path, width: int, height: int, dark: bool
) -> None:
    told = read_data(path.read_text("utf-8"))
    tab.window(width, height, dark=dark)
    tab.open(path)
    headings = []
    for step in range(1, steps_of(told) + 1):
        assert tab.run("document.body.dataset.step") == str(step)
        assert tab.run("location.hash") in ("", f"#step={step}")
        headings.append(tab.run("document.querySelector('h2').textContent"))
        text = tab.run("document.querySelector('main').innerText")
        assert not re.search(r"\b(NaN|undefined|Infinity|null)\b|\[object", text), text
        assert tab.run("document.documentElement.scrollWidth") <= width
        tab.run("document.getElementById('next').click()")
    assert "It makes a guess" in headings[1]
    assert "It guesses again" in headings[-1]
    assert tab.run("document.getElementById('next').disabled") is True
    assert_quiet(tab, path)


@every_page(["digits"])
def test_keys_and_buttons_walk_back_and_forth(tab: browser.Tab, path: Path) -> None:
    tab.open(path)
    assert tab.run("document.getElementById('back').disabled") is True
    for key, step in [("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowRight", 3)]:
        tab.press(key)
        assert tab.run("document.body.dataset.step") == str(step)
    tab.run("document.getElementById('back').click()")
    assert tab.run("document.body.dataset.step") == "2"
    tab.run("document.querySelectorAll('#steps button')[4].click()")
    assert tab.run("document.body.dataset.step") == "5"
    assert tab.run("document.querySelectorAll('[aria-current=step]').length") == 1
    # Within a layer up and down move from node to node.
    tab.run("document.querySelector('[data-at^=\"2.\"]').focus()")
    first = tab.run("document.activeElement.dataset.at")
    tab.press("ArrowDown")
    assert tab.run("document.activeElement.dataset.at") != first
    tab.press("ArrowUp")
    assert tab.run("document.activeElement.dataset.at") == first
    assert_quiet(tab, path)


@every_page(["digits"])
def test_an_address_opens_a_step_and_a_node(tab: browser.Tab, path: Path) -> None:
    told = read_data(path.read_text("utf-8"))
    node = told["columns"][1]["nodes"][2]["index"]
    tab.open(path, f"#step=6&node=1.{node}")
    assert tab.run("document.body.dataset.step") == "6"
    assert tab.run("document.getElementById('detail').dataset.node") == f"1.{node}"
    for nonsense in ("#step=99&node=7.7", "#step=-3&node=a.b", "#step=x", "#%00<script>"):
        tab.open(path, nonsense)
        assert int(tab.run("document.body.dataset.step")) in (1, steps_of(told))
    assert_quiet(tab, path)


@every_page(["deep"])
def test_a_network_wider_than_the_window_shows_the_layer_in_question(
    tab: browser.Tab, path: Path
) -> None:
    told = read_data(path.read_text("utf-8"))
    tab.window(400, 800)
    for step in range(4, 4 + len(told["columns"])):
        tab.open(path, f"#step={step}")
        left, right, low, high = tab.run(
            "(() => { const h = document.querySelector('.head.now').getBoundingClientRect();"
            " const s = document.getElementById('scroll').getBoundingClientRect();"
            " return [h.left, h.right, s.left, s.right] })()"
        )
        assert low - 10 <= left
        assert right <= high + 10
    assert_quiet(tab, path)


# The arithmetic that is shown

ROWS = """
(id) => { const table = document.getElementById(id); return table && {
  unit: Number(table.dataset.unit),
  rows: [...table.querySelectorAll("tbody tr")].map((row) => [
    row.dataset.part, ...[...row.cells].map((cell) => cell.textContent)]) } }
"""


def number(text: str) -> Decimal:
    return Decimal(text.replace("−", "-"))


def half_a_last_digit(value: Decimal, digits: int) -> Decimal:
    """Half of what the last of so many significant digits counts."""
    return Decimal(10) ** (value.adjusted() - digits + 1) / 2


def assert_sheet_is_true(sheet: dict[str, Any], exact: float, digits: int | None) -> None:
    """What is printed adds up to the last digit, and comes to the number that the core gave."""
    unit = Decimal(10) ** int(sheet["unit"])
    total, product, rounding = Decimal(0), None, Decimal(0)
    for part, _, *cells in sheet["rows"]:
        value = number(cells[-1])
        if part in ("term", "rest", "bias", "gap"):
            total += value
            if len(cells) == 3:
                shown = number(cells[0]) * number(cells[1]) / unit
                last = Decimal(10) ** int(value.as_tuple().exponent)
                assert abs(shown - value) <= last * Decimal("0.5000001"), cells
        elif part == "sum":
            assert value == total
            product = value
        elif part == "pull":
            product = value
        elif part == "times":
            assert product is not None
            product *= value
        elif part == "through":
            assert product is not None
            product += value
        elif part == "rounding":
            assert product is not None
            product, rounding = product + value, value
        else:
            assert part == "result"
            if digits is None:
                assert value == total
                last = Decimal(10) ** int(value.as_tuple().exponent)
                assert abs(Decimal(exact) / unit - value) <= last * Decimal("0.51")
                continue
            assert product is not None
            slack = half_a_last_digit(value, digits) if value else Decimal(0)
            slack += abs(rounding) / 100  # it is printed in three digits
            assert abs(product - value) <= slack * Decimal("1.0001"), sheet["rows"]
            true = Decimal(exact) / unit
            assert abs(true - value) <= half_a_last_digit(true, digits) * Decimal("1.0001")


@every_page()
def test_the_numbers_of_every_node_add_up_as_printed(tab: browser.Tab, path: Path) -> None:
    told = read_data(path.read_text("utf-8"))
    last, rounded = len(told["columns"]) - 1, 0
    for c, column in enumerate(told["columns"]):
        tab.open(path, f"#step={4 + last - c}")
        for node in column["nodes"]:
            clicked = tab.run(
                f"(() => {{ const b = document.querySelector('[data-at=\"{c}.{node['index']}\"]');"
                " if (b && b.getAttribute('aria-pressed') === 'false') b.click(); return !!b })()"
            )
            if not clicked:  # a pixel of an image: no button, but an address
                fragment = f"#step={4 + last - c}&node={c}.{node['index']}"
                tab.open(path, fragment)
            assert tab.run("document.getElementById('detail').dataset.node") == (
                f"{c}.{node['index']}"
            )
            chain = tab.run(f"({ROWS})('chain')")
            parts = [row[0] for row in chain["rows"]]
            assert parts[-1] == "result"
            rounded += "rounding" in parts
            assert ("rest" in parts) == bool(node.get("others"))
            assert ("through" in parts) == bool(column.get("between"))
            assert_sheet_is_true(chain, node["delta"], 4)
            if c > 0:
                arrival = tab.run(f"({ROWS})('arrival')")
                assert_sheet_is_true(arrival, node["z"], None)
    if path.stem == "cancelling":
        assert rounded
    elif path.stem != "tiny":
        assert not rounded
    assert_quiet(tab, path)


@every_page()
def test_the_fix_adds_up_as_printed(tab: browser.Tab, path: Path) -> None:
    told = read_data(path.read_text("utf-8"))
    tab.open(path, f"#step={steps_of(told) - 1}")
    rows = tab.run(
        "[...document.querySelectorAll('[data-fix]')].map((r) => "
        "[...r.cells].slice(1).map((c) => c.textContent))"
    )
    assert len(rows) == len(told["fix"]["weights"])
    rate = Decimal(repr(told["fix"]["rate"]))
    for row, exact in zip(rows, told["fix"]["weights"], strict=True):
        about = row[2].startswith("≈")  # a step that only just shows in float32
        weight, gradient, after = (number(cell.strip("≈ ")) for cell in row)
        last = Decimal(10) ** int(after.as_tuple().exponent)
        slack = max(abs(weight) * Decimal("1e-7"), last) if about else last * Decimal("0.5000001")
        assert abs(weight - rate * gradient - after) <= slack
        assert about == (path.stem == "tiny")
        assert float(weight) == pytest.approx(exact["weight"], abs=float(last))
        assert float(after) == pytest.approx(exact["after"], abs=float(last))
    assert_quiet(tab, path)


@every_page(["norm", "scale", "table"])
def test_the_page_says_what_it_does_not_draw(tab: browser.Tab, path: Path) -> None:
    told = read_data(path.read_text("utf-8"))
    tab.open(path, "#step=2")
    words = tab.run("document.getElementById('words').innerText")
    assert ("(Scale)" in words) == (path.stem == "scale")
    assert (told["leftOut"] or "other kinds") in words or path.stem != "norm"
    about = tab.run("document.getElementById('about').textContent")
    assert ("learned numbers" in about) == (path.stem != "table")
    tab.open(path, "#step=5")
    words = tab.run("document.getElementById('words').innerText")
    lies = "Between this layer and the next lie a LayerNorm and an Activation"
    assert (lies in words) == (path.stem == "norm")
    formula = tab.run("document.getElementById('detail').innerText.includes('× slope')")
    assert formula == (path.stem != "norm")
    assert_quiet(tab, path)


# Harmless and for everybody


@every_page(["hostile"])
def test_hostile_names_are_shown_and_do_nothing(tab: browser.Tab, path: Path) -> None:
    tab.open(path)
    shown = ""
    for _ in range(steps_of(read_data(path.read_text("utf-8")))):
        for button in range(tab.run("document.querySelectorAll('.node').length")):
            tab.run(f"document.querySelectorAll('.node')[{button}].click()")
        shown += tab.run("document.body.textContent")
        tab.run("document.getElementById('next').click()")
    for name in HOSTILE:
        assert name in shown
    assert tab.run("document.title") == HOSTILE[1]
    assert tab.run("typeof window.pwned") == "undefined"
    assert tab.run("document.querySelectorAll('img, script, iframe, b b, svg[onload]').length") == 2
    assert_quiet(tab, path)


@every_page(["digits"])
def test_nothing_but_the_pages_own_script_may_run_or_load(tab: browser.Tab, path: Path) -> None:
    tab.open(path)
    tab.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.pwned = 5';"
        " document.body.append(s); const i = document.createElement('img');"
        " i.src = 'https://example.com/x.png'; document.body.append(i);"
        " document.body.setAttribute('onclick', 'window.pwned = 6'); document.body.click(); })()"
    )
    assert tab.run("typeof window.pwned") == "undefined"
    tab.run("1")
    refused = " ".join(tab.complaints)
    assert refused.count("Content Security Policy") >= 3
    tab.complaints.clear()


@every_page(["digits", "table"])
def test_everything_that_can_be_pressed_has_a_name(tab: browser.Tab, path: Path) -> None:
    told = read_data(path.read_text("utf-8"))
    for step in range(1, steps_of(told) + 1):
        tab.open(path, f"#step={step}")
        nameless = tab.run(
            "[...document.querySelectorAll('button, canvas, [role=img]')].filter((e) => "
            "!(e.getAttribute('aria-label') || e.textContent.trim())).length"
        )
        assert nameless == 0
        assert tab.run("document.querySelectorAll('[onclick]').length") == 0
        small = tab.run(  # WCAG 2.2, 2.5.8: at least 24 by 24
            "[...document.querySelectorAll('button')].filter((e) => "
            "{ const b = e.getBoundingClientRect(); return b.width < 24 || b.height < 24 }).length"
        )
        assert small == 0
    assert tab.run("document.documentElement.lang") == "en"


@every_page(["digits"])
def test_motion_stops_where_it_is_unwelcome(tab: browser.Tab, path: Path) -> None:
    moving = "document.getAnimations().filter((a) => a.playState === 'running').length"
    tab.open(path, "#step=5")
    assert tab.run(moving) == 0
    tab.window(1280, 800, calm=False)
    tab.open(path, "#step=5")
    assert tab.run(moving) > 0
