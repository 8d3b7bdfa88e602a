"""Names that users bring from Keras, PyTorch, scikit-learn and Captum, and what they are here.

Similar spelling is no kinship: softmax is not softplus, swish is not mish. So this table is asked
before any guess by spelling. An answer is one of the names that are valid here, or advice where
there is no such name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from culpa import _renamed

__all__ = ["mend_name", "plain"]

_LOGITS = (
    "leave it out: cross_entropy takes logits, as the last layer gives them, and predict_proba "
    "gives probabilities"
)
_MULTICLASS = "use 'cross_entropy', or 'binary_cross_entropy' where the last layer has one unit"
_ASSIGN = "choose any of these and assign the weights: model.layers[0].weight = ..."
_IN_OPTIMIZER = "it belongs to the optimizer: optimizer="
_IN_MODEL = "it belongs to the model: culpa.Sequential(..., "
_NOT_ADAM = "there is none here; 'adam' comes nearest"
_NOT_RMSPROP = "there is none here; 'rmsprop' comes nearest"
_NO_GRADIENT = (
    "there is none here; 'expected_gradients' with a background approximates Shapley values too, "
    "'integrated_gradients' needs a baseline alone"
)
_STEPS = "pass culpa.StepDecay(every_epochs=..., factor=...)"
_BY_LOSS = "pass early_stopping=, which stops where nothing improves any more"
_VALIDATION = "pass validation_data=(X, y)"
_MONITOR = "pass validation_data or validation_split to fit, without which there is no such value"

# Argument -> names, without capitals and punctuation, that are separated by spaces -> the answer.
_TABLE: dict[str, dict[str, str]] = {
    "activation": {
        "softmax logsoftmax softmax2d softmin sparsemax": _LOGITS,
        "linear none nonetype noop id passthrough": "identity",
        "swish swish1 siluact": "silu",
        "logistic expit sig logsig sigmoidal": "sigmoid",
        "rectifier rectify rectifiedlinear ramp": "relu",
        "lrelu leaky leakyrectify": "leaky_relu",
        "hyperbolictangent th tansig": "tanh",
        "softrelu smoothrelu": "softplus",
        "gelunew geluapproximate gelupytorchtanh geluapprox gelufast": "gelu_tanh",
        "quickgelu": "there is none here; 'gelu_tanh' comes nearest",
        "relu6 hardtanh threshold clippedrelu": "there is none here; 'relu' comes nearest",
        "prelu rrelu": "there is none here; 'leaky_relu' comes nearest",
        "hardsigmoid step heaviside": "there is none here; 'sigmoid' comes nearest",
        "hardswish hardsilu": "there is none here; 'silu' comes nearest",
        "celu": "there is none here; 'elu' with alpha=1 is the same as celu with alpha=1",
        "softsign arctan atan hardshrink softshrink tanhshrink": (
            "there is none here; 'tanh' comes nearest"
        ),
        "exp exponential": (
            "leave it out: with loss 'poisson', 'gamma' or 'tweedie' the outputs are logs of the "
            "mean, and predict gives their exp"
        ),
        "logsigmoid": _LOGITS,
        "glu swiglu geglu reglu maxout": "there is none here; 'silu' or 'gelu' come nearest",
    },
    "loss": {
        "sparsecategoricalcrossentropy categoricalcrossentropy categorical sparsecategorical "
        "crossentropyloss softmaxcrossentropy softmaxcrossentropywithlogits "
        "sparsesoftmaxcrossentropywithlogits softmaxcrossentropywithintegerlabels softmax ce xent "
        "mlogloss multinomial multilogloss": "cross_entropy",
        "logloss logistic deviance logisticregression logit": _MULTICLASS,
        "nll nllloss negativeloglikelihood": (
            "use 'cross_entropy', which takes logits: leave log_softmax out"
        ),
        "bce bceloss bcewithlogits bcewithlogitsloss binarycrossentropywithlogits "
        "sigmoidcrossentropy sigmoidcrossentropywithlogits sigmoidbinarycrossentropy "
        "binarylogistic binarylogloss multilabelsoftmargin multilabelsoftmarginloss "
        "softmarginloss": "binary_cross_entropy",
        "meansquarederror meansquarederrorloss squarederror squaredloss squarederrorloss l2 l2loss "
        "mseloss quadratic leastsquares squared gaussian regsquarederror": "mse",
        "rmse rootmeansquarederror": "use 'mse', whose minimum is the same",
        "meanabsoluteerror absoluteerror absolute absoluteloss l1 l1loss maeloss "
        "leastabsolutedeviation lad": "mae",
        "smoothl1 smoothl1loss huberloss pseudohuber": "huber",
        "logcosh epsiloninsensitive squaredepsiloninsensitive": (
            "there is none here; 'huber' comes nearest"
        ),
        "poissonnll poissonnllloss poissonloss poissondeviance countpoisson": "poisson",
        "gammaloss gammanll gammanllloss gammadeviance meangammadeviance halfgammaloss reggamma": (
            "gamma"
        ),
        "tweedieloss tweediedeviance meantweediedeviance halftweedieloss regtweedie "
        "compoundpoisson": "tweedie",
        "inversegaussian invgauss wald": "pass culpa.Tweedie(power=3.0)",
        "lognormal": "use 'mse' with the logs of y",
        "pinball pinballloss quantileloss quantileregression": "quantile",
        "kl kld kldiv kldivloss kldivergence kullbackleiblerdivergence": (
            "use 'cross_entropy' with probabilities as y: the gradient is the same"
        ),
        "hinge hingeloss squaredhinge categoricalhinge multimarginloss modifiedhuber perceptron": (
            f"there is none here; {_MULTICLASS}"
        ),
        "focal focalloss sigmoidfocalloss binaryfocalcrossentropy categoricalfocalcrossentropy": (
            f"there is none here; {_MULTICLASS}, with class_weight= in fit"
        ),
    },
    "initializer": {
        "he kaiming msra": "use 'he_normal' or 'he_uniform'",
        "kaimingnormal henormalinitializer": "he_normal",
        "kaiminguniform": "he_uniform",
        "xavier glorot": "use 'glorot_uniform' or 'glorot_normal'",
        "xavieruniform default none nonetype": "glorot_uniform",
        "xaviernormal": "glorot_normal",
        "lecun": "use 'lecun_normal' or 'lecun_uniform'",
        "zero": "zeros",
        "normal randomnormal truncatednormal truncnormal uniform randomuniform variancescaling "
        "orthogonal ones one constant identity eye dirac sparse": _ASSIGN,
    },
    "optimizer": {
        "momentum sgdmomentum sgdm": "pass culpa.SGD(learning_rate, momentum=0.9)",
        "nesterov nag": "pass culpa.SGD(learning_rate, momentum=0.9, nesterov=True)",
        "gradientdescent gd stochasticgradientdescent": "sgd",
        "adamax nadam radam amsgrad adabelief adafactor lamb sparseadam novograd": _NOT_ADAM,
        "adagrad adadelta rprop ftrl": _NOT_RMSPROP,
        "lbfgs bfgs": "there is none here; culpa.sklearn's perceptrons take solver='lbfgs'",
    },
    "schedule": {
        "constantlr none fixed": "constant",
        "cosineannealing cosineannealinglr cosinedecay cosinewithwarmup cosinedecayrestarts "
        "cosineannealingwarmrestarts cosineschedule warmupcosine": "cosine",
        "onecyclelr 1cycle superconvergence triangular cyclic cycliclr": "one_cycle",
        "step steplr stepdecay multistep multisteplr piecewiseconstant piecewiseconstantdecay "
        "piecewise": _STEPS,
        "exponential exponentiallr exponentialdecay exp inversetimedecay invscaling": (
            "pass culpa.ExponentialDecay(factor)"
        ),
        "linear linearlr lineardecay polynomial polynomialdecay polynomiallr warmup": (
            "there is none here; culpa.Cosine(warmup=..., final=...) comes nearest"
        ),
        "plateau reducelronplateau adaptive reduceonplateau": f"there is none here; {_BY_LOSS}",
    },
    "method": {
        "gradientshap gradshap gradientexplainer": "expected_gradients",
        "saliency saliencymap vanillagradient vanilla grad gradients sensitivity backprop": (
            "use 'gradient'; a saliency is its absolute value"
        ),
        "ig integratedgrad integratedgrads": "integrated_gradients",
        "eg": "expected_gradients",
        "deepliftrescale rescale": "deeplift",
        "deepliftshap deepshap deepexplainer deepliftbackground": (
            "use 'deeplift' with background=, whose mean it is"
        ),
        "inputxgrad gradientxinput gradxinput gradientinput gradienttimesinput inputtimesgradient "
        "gradienttimesinputs inputgradient": "input_x_gradient",
        "noisetunnel smoothgradients smoothgradsquare vargrad": "smooth_grad",
        "layerconductance neuronconductance internalinfluence layerintegratedgradients "
        "neuronintegratedgradients": "conductance",
        "lrpepsilon epsilonlrp epsilonrule layerwiserelevancepropagation relevance": "lrp",
        "guidedbackprop guidedbackpropagation deconvolution deconvnet guidedgradcam gradcam "
        "layergradcam": "there is none here; 'integrated_gradients' comes nearest",
        "occlusion featureablation ablation featurepermutation permutation shapleyvalues "
        "shapleyvaluesampling shapley shap kernelshap kernelexplainer treeshap treeexplainer "
        "permutationexplainer lime": _NO_GRADIENT,
    },
    "rule": {
        "gausslegendrequadrature legendre gauss": "gauss_legendre",
        "riemannmiddle middle midpoint riemannleft riemannright riemanntrapezoid left right "
        "trapezoid": "riemann",
    },
    "dtype": {
        "double float fp64 f8": "float64",
        "single fp32 f4": "float32",
        "float16 half fp16 bfloat16 bf16 f2": "use 'float32'; data may well be float16",
    },
    "want": {
        "errors": "losses",
        "deltas delta errorsignals signals neurons": "nodes",
        "activations activation hiddens hiddenlayers featuremaps embeddings": "hidden",
        "derivatives derivative activationgradients": "slopes",
        "saliency dx inputgradients inputgradient features": "inputs",
        "bias biases gradient gradients grads grad weightgradients parameters params": (
            "use 'weights', which brings the biases too"
        ),
        "gradientnorm gradnorms norms norm pergradientnorms perexamplegradients "
        "persamplegradients examplenorms": "gradient_norms",
        "all everything": "leave want out, which gives all but 'hidden' and 'slopes'",
    },
    "monitor": {
        "acc": "accuracy",
        "valacc validationaccuracy validaccuracy": "val_accuracy",
        "validationloss validloss testloss": "val_loss",
        "trainloss trainingloss": "loss",
        "valloss valaccuracy valr2": _MONITOR,
    },
    "class_weight": {
        "auto balancedsubsample": "balanced",
    },
    "fit": {
        "nepochs nbepoch nbepochs numepochs numepoch maxiter maxepochs maxepoch iterations niter "
        "numiterations numtrainepochs": "epochs",
        "bs batch minibatch minibatchsize nbatch trainbatchsize perdevicetrainbatchsize": (
            "batch_size"
        ),
        "lr learningrate learningrateinit stepsize eta eta0": (
            f"{_IN_OPTIMIZER}culpa.Adam(learning_rate)"
        ),
        "momentum nesterov nesterovsmomentum": (
            f"{_IN_OPTIMIZER}culpa.SGD(learning_rate, momentum=0.9)"
        ),
        "weightdecay l2 alpha l2regularization regularization beta1 beta2 betas epsilon eps": (
            f"{_IN_OPTIMIZER}culpa.AdamW(learning_rate, weight_decay=...)"
        ),
        "solver optim opt": "optimizer",
        "scheduler lrscheduler learningrateschedule lrschedule learningratescheduler": "schedule",
        "validationfraction valsplit validsplit testsize valfraction validationsize evalfraction": (
            "validation_split"
        ),
        "xval yval xvalidation yvalidation xvalid yvalid xtest ytest valx valy evalset evaldata "
        "validationset valdata valset validset testdata evaldataset": _VALIDATION,
        "weights sampleweights weight": "sample_weight",
        "classweights": "class_weight",
        "clip maxgradnorm gradclip gradientclip clipgradnorm gradientclipval "
        "globalclipnorm gradclipnorm clipvalue": "clip_norm",
        "patience niternochange earlystoppingrounds earlystop stoppingrounds mindelta tol monitor "
        "restorebestweights": "pass early_stopping=culpa.EarlyStopping(patience=...)",
        "callback callbackslist": "callbacks",
        "progress progressbar silent quiet disp verbosity showprogress": "verbose",
        "loss criterion lossfunction lossfn objective": f'{_IN_MODEL}loss="mse")',
        "randomstate seed randomseed generator": f"{_IN_MODEL}seed=0)",
        "dtype precision": f'{_IN_MODEL}dtype="float64")',
        "dropout": "it is a layer of the model: culpa.Dropout(rate)",
        "labelsmoothing": f"{_IN_MODEL}loss=culpa.CrossEntropy(label_smoothing=0.1))",
        "tweediepower tweedievariancepower variancepower": (
            f"{_IN_MODEL}loss=culpa.Tweedie(power=1.5))"
        ),
        "device usegpu accelerator": "leave it out: culpa trains on the CPU",
        "njobs nthreads numthreads numworkers workers threads usemultiprocessing": (
            "use culpa.set_num_threads"
        ),
        "metrics metric scoring evalmetric": (
            "leave it out: the history has the loss and accuracy or r2"
        ),
        "warmstart initialepoch": "leave it out: fit goes on where the last one ended",
        "checkpoint checkpoints checkpointpath": "save in a callback: training.model.save(path)",
        "maxgradientnorm noisemultiplier delta dp": "pass privacy=culpa.Privacy(...)",
        "stepsperepoch validationsteps validationbatchsize validationfreq": (
            "leave it out: an epoch is one pass through all rows"
        ),
        "inputsize inputshape inputdim": f"{_IN_MODEL}input_size=...)",
        "inputscale scale normalize": f"{_IN_MODEL}input_scale=...)",
    },
}


def _answers(table: dict[str, str]) -> dict[str, str]:
    return {name: answer for names, answer in table.items() for name in names.split()}


_ANSWERS = {
    argument: _answers(table) | _renamed.NAMES.get(argument, {})
    for argument, table in _TABLE.items()
}


def plain(name: str) -> str:
    """Return a name without its module, capitals and punctuation.

    Examples
    --------
    >>> plain("torch.nn.LeakyReLU"), plain("Smooth-Grad")
    ('leakyrelu', 'smoothgrad')
    """
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())


def mend_name(argument: str, value: Any, valid: Collection[str]) -> str:
    """Return what to write in place of a value that is not valid, "" where that is unknown.

    Parameters
    ----------
    argument : str
        What the value was passed for: "activation", "loss", "fit" (for the names of its options).
    value : object
        A name, or what is named like one: a class, a function, an object such as torch.nn.ReLU().
    valid : collection of str
        The names that are valid.

    Examples
    --------
    >>> mend_name("activation", "swish", ["relu", "silu"])
    "it is called 'silu' here"
    """
    name = value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)
    if name.lower().endswith("dtype"):  # of NumPy or PyTorch, which say their names only so
        name = str(value)
    known = {plain(each): each for each in valid}
    if plain(name) in known:
        return f"did you mean {known[plain(name)]!r}?"
    answer = _ANSWERS.get(argument, {}).get(plain(name), "")
    if answer in valid:
        return f"it is called {answer!r} here"
    # Some answers are names that are not valid everywhere, such as val_loss without such data.
    if answer.isidentifier():
        answer = _ANSWERS[argument].get(plain(answer), "")
    return "" if answer.isidentifier() else answer
