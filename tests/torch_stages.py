"""The oracle's stages as PyTorch's users write them, and what its autograd says of a batch."""

from typing import Any

import numpy as np

import reference_stages as oracle
import stacks
from reference_stages import Array, Stages
from stacks import StageProblem
from test_reference import import_torch, torch_activation, torch_losses


def torch_module(stage: oracle.Stage) -> Any:
    """The same stage as PyTorch's users write it, in float64."""
    torch = import_torch()
    nn, tensor = torch.nn, torch.tensor

    class Activation(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, name: str, alpha: float | None) -> None:
            super().__init__()
            self.name, self.alpha = name, alpha

        def forward(self, x: Any) -> Any:
            return torch_activation(self.name, x, self.alpha)

    class Scale(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, factor: Array) -> None:
            super().__init__()
            self.factor = nn.Parameter(tensor(factor))

        def forward(self, x: Any) -> Any:
            return x * self.factor

    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, branch: Any) -> None:
            super().__init__()
            self.branch = branch

        def forward(self, x: Any) -> Any:
            return x + self.branch(x)

    match stage:
        case oracle.Dense():
            linear = nn.Linear(*stage.weight.shape, dtype=torch.float64)
            linear.weight.data, linear.bias.data = tensor(stage.weight.T), tensor(stage.bias)
            return nn.Sequential(linear, Activation(stage.activation, stage.alpha))
        case oracle.Scale():
            return Scale(stage.factor)
        case oracle.Activation():
            return Activation(stage.name, stage.alpha)
        case oracle.LayerNorm():
            normed = nn.LayerNorm(len(stage.gain), eps=stage.epsilon, dtype=torch.float64)
            normed.weight.data, normed.bias.data = tensor(stage.gain), tensor(stage.shift)
            return normed
        case oracle.Residual():
            return Residual(torch_network(stage.stages))
    raise TypeError(stage)


def torch_network(stages: Stages) -> Any:
    return import_torch().nn.Sequential(*map(torch_module, stages))


def torch_answers(problem: StageProblem) -> dict[str, Array]:
    """Loss and gradients by autograd; each example's by a backward pass of its own."""
    torch = import_torch()
    network = torch_network(problem.stages)
    names = list(oracle.arrays(problem.stages))
    pre_activations: list[Any] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, __, z: pre_activations.append(z))

    X = torch.tensor(problem.X * problem.input_scale, requires_grad=True)
    outputs = network(X)
    losses = torch_losses(
        problem.case.loss.name, outputs, torch.tensor(problem.y), problem.case.options
    )
    variables = list(network.parameters())

    def gradients(scalar: Any, variables: list[Any]) -> list[np.ndarray]:
        """Those of a Linear's weight are PyTorch's transposed: (outputs, inputs)."""
        found = torch.autograd.grad(scalar, variables, retain_graph=True)
        return [gradient.numpy() for gradient in found]

    def by_name(scalar: Any) -> dict[str, Array]:
        found = zip(names, gradients(scalar, variables), strict=True)
        return {name: g.T if name.endswith(".weight") else g for name, g in found}

    rows = len(problem.X)
    w = torch.tensor(np.ones(rows) if problem.sample_weight is None else problem.sample_weight)
    batch_loss = (w * losses).sum() / w.sum()
    *nodes, inputs = gradients(losses.sum(), [*pre_activations, X])
    own = [by_name(one) for one in losses]
    hidden, slopes = oracle.fired(problem.stages, problem.X * problem.input_scale)
    walk = oracle.Walk(
        losses=losses.detach().numpy(),
        outputs=outputs.detach().numpy(),
        inputs=inputs,
        hidden=hidden,  # the other oracle's to judge
        slopes=slopes,
        examples={name: np.stack([g[name] for g in own]) for name in names},
        share=(w / w.sum()).numpy(),
    )
    return (
        stacks.answers_of(walk)
        | {f"nodes[{i}]": delta for i, delta in enumerate(nodes)}
        | {f"gradients[{name}]": g for name, g in by_name(batch_loss).items()}
        | {"loss": np.array(batch_loss.item())}
    )
