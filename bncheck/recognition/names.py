"""How people spell batch normalisation: small tables of names, which `signature.py` crosses with the shapes of calls.

Counted over 83 public sources. Names are compared in lower case, without underscores.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FORWARDS = _words(
    """
    forwardpropagation feedforward forwardpass forwardprop forwards forward forword foward forwad froward
    updateoutput fprop fwd
    """
)
"""Words for a forward pass in the name of a function or method, longer before shorter, misspelt ones included."""

BACKWARDS = _words(
    """
    backwardpropagation backpropagation backpropagate backwardpass backwardprop backwards backward backword bacward
    backwad backwrad backprop backpass updategradinput bprop bwd gradients gradient grad derivative back
    """
)
"""Words for a backward pass."""

LESS_LIKELY_FORWARDS = _words("compute call apply normalize normalise transform run output getoutput f")
"""Methods that may be a forward pass where nothing is called one."""

NEVER_A_PASS = _words(
    """
    zerograd zerogradients parameters getparameters getparams setparams params statedict loadstatedict train eval
    save load reset resetparameters summary copy clear step optimize optimise layername outputshape getoutputshape
    numparams getconfig
    """
)
"""Methods that are neither forward nor backward, whatever comes of calling them."""

ALSO_BACKWARD = _words("accGradParameters acc_grad_parameters backward_params backward_parameters")
"""Methods that give the parameter gradients, where backward gives dx alone."""

BUILDERS = _words("build init setup setinput setshape make create prepare configure compile")
"""Beginnings of the names of methods that make gamma and beta after the object is made."""

WAITED_FOR = _words(
    """
    optimizer optimiser optim opt gammaopt betaopt gammaoptimizer betaoptimizer solver inputshape inputsize inshape
    shape prev next prevlayer nextlayer network model weightsinitializer initializer init batchsize channel channels
    parent inputlayer
    """
)
"""Attributes of a layer that somebody else sets before it can work, where they are None."""

GAMMAS = _words("gamma gammas weight weights scale w bw g gain alpha a gam scales")
BETAS = _words("beta betas bias biases shift b bb offset bet shifts")
"""Names of gamma and beta, the likeliest first."""

MODES = _words("training train istraining istrain trainflg trainflag trainmode trainingmode intraining")
FROZEN = _words("test istest testing testmode inference eval evaluate isinference predict deterministic")
"""Flags of train mode, and of its contrary."""

RATES = _words("lr learningrate eta stepsize alphalr rate learnrate")
EPSILONS = _words("eps epsilon epsi e epsln smallnumber bneps")

ROLES: dict[str, tuple[str, ...]] = {
    "gamma": _words("gamma gammas gam weight weights scale w g gain"),
    "beta": BETAS,
    "eps": EPSILONS,
    "x": _words("x input inputs inp z data xs inputdata inputtensor inx xin hin ain features batch"),
    "dout": _words(
        """
        dout grad dy gradoutput gradout delta dz upstream upstreamgradient outputgradient accumgrad outputerror
        outputgrad dldz dldbz dldy dl gradient dvalues dh da doutput outgrad error err gradients grads dlout
        nextgrad gradsout eta gout dnext dnextlayer lossgrad deltas gradientoutput dlossdout dl dldout errorsignal
        """
    ),
    "context": _words("ctx context"),
    "out": _words("out output outputs hout aout yout outdata outputdata y top activation"),
    "cache": _words("cache ctx caches bncache memory saved context tape state"),
    "parameters": _words("bnparam bnparams param params config options bnconfig bndict opts hyper"),
    "features": _words(
        """
        numfeatures nfeatures nfeature features dim dims indim nin d size insize inputdim inputsize infeatures
        inchannels channels channel numchannels nchannels c units nunits numunits neurons nneurons hidden hiddensize
        ndim featuresize nfilters nout outdim outchannels numfilters layersize featuredim featurecount inputcount
        num numneurons width nodes outputsize inputunits numinputs ninputs nodesize inputs inputfeatures
        inputchannels nchannel featuresnum dimension dimensions inplanes
        """
    ),
    "shape": _words("inputshape shape inshape dshape paramshape featureshape normalizedshape xshape insh"),
    "axes": _words("numdims ndims numdim inputdims rank nd"),
    "n or d": _words("n m"),
    "optimiser": _words("optimizer optimiser optim opt solver updater"),
    "n": _words("n m batchsize nsamples numsamples bs"),
    "momentum": _words("momentum decay rho mom alpha movingdecay beta1"),
    "running mean": _words("runningmean movingmean runningmu runmean globalmean populationmean meanrunning runningm"),
    "running var": _words("runningvar movingvar runningvariance movingvariance runvar globalvar runningv"),
    "training": MODES,
    "frozen": FROZEN,
    "mode": _words("mode phase"),
    "rate": RATES,
    "name": _words("name layername label scope"),
    "index": _words("l layer i k idx index layeridx layerindex layeri layerid layernum layernumber li lidx"),
    "mean": _words("mean mu batchmean samplemean avg xmean savemean savedmean means average"),
    "sum": _words("sum xsum sumx savesum savedsum"),
    "var": _words("var variance batchvar samplevar sigma2 xvar sigmasq vars variances"),
    "saved var": _words("savevar savedvar savevariance savedvariance reserve"),
    "std": _words("std stddev sigma sqrtvar samplestd batchstd stds savestd savedstd"),
    "inverse": _words("ivar invstd istd stdinv invvar rstd isqrt saveinvstd savedinvstd saverstd savedrstd inversestd"),
    "x_hat": _words("xhat xnorm xnormalized xn znorm normalized xnormed xbar zhat norm normed"),
    "centred": _words("xmu xc centered centred xcentered xmeaned xminusmean diff"),
}
"""Names of an argument, by its role. The first role that knows a name has it, in the order of a stage."""

ROLES_OF = {
    "create": (
        *("features", "shape", "axes", "eps", "gamma", "beta", "x", "momentum", "rate", "training", "mode", "name"),
        *("n or d", "n", "optimiser"),
    ),
    "build": ("features", "shape", "x", "n or d", "n", "optimiser", "name"),
    "forward": (
        "context",
        *("x", "gamma", "beta", "eps", "running mean", "running var", "momentum", "training", "frozen", "mode"),
        *("parameters", "features", "n or d", "n", "shape", "rate", "name", "index"),
    ),
    "backward": (
        *("dout", "cache", "out", "rate", "gamma", "beta", "eps", "x_hat", "centred", "mean", "var", "std", "inverse"),
        *("sum", "saved var", "x", "n or d", "n", "training", "mode", "parameters", "optimiser"),
    ),
}
LAYERS = "[d, d, d]"  # a list over the layers of a network: of their sizes, or of what is true of each
_MODE = "'mode': 'train'"
_STATISTICS = "'running_mean': running_mean, 'running_var': running_var"
TEXTS: dict[str, tuple[str, ...]] = {
    "context": ("ctx",),
    **{role: (role,) for role in ("gamma", "beta", "eps", "x", "dout", "out", "cache", "n", "momentum")},
    "parameters": (
        f"{{{_MODE}, 'eps': eps}}",
        f"{{{_MODE}, 'eps': eps, 'momentum': momentum}}",
        f"{{{_MODE}, 'eps': eps, 'momentum': momentum, {_STATISTICS}}}",
        f"{{'training': True, 'eps': eps, 'epsilon': eps, 'momentum': momentum, {_STATISTICS}}}",
        "(gamma, beta)",
    ),
    "features": ("d", "(d,)", LAYERS),
    "shape": ("(d,)", "d", "shape[1:]", "shape", "(1, d)"),
    "axes": ("2", "4", "d", "3"),
    "n or d": ("d", "n"),
    "optimiser": ("optimizer", "None"),
    "running mean": ("running_mean",),
    "running var": ("running_var",),
    "training": ("True",),
    "frozen": ("False",),
    "mode": ("'train'", "True", "'training'"),
    "rate": ("learning_rate",),
    "name": ("'bn'",),
    "index": ("0", "1"),
    "saved var": ("saved_var", "saved_inverse_std"),  # in libraries it holds the one or the other
}
SAVED_AS = {
    "mean": "saved_mean",
    "sum": "saved_sum",
    "var": "saved_var",
    "std": "saved_std",
    "inverse": "saved_inverse_std",
    "x_hat": "saved_x_hat",
    "centred": "saved_centred",
}
"""Names in patterns that a backward alone is handed, by the role of the argument."""
# Optional arguments that are handed over all the same; of the rest the default is taken.
WANTED = ("gamma", "beta", "eps", "training", "frozen", "mode", "rate", "running mean", "running var", "parameters")
UNKNOWN = {
    "create": ("d", "(d,)", LAYERS, "optimizer", "None", "1"),
    "build": ("(d,)", "d", "optimizer", "None"),
    "forward": ("True", "(running_mean, running_var)", "None", "0", "buffer", "{}"),
    "backward": ("x", "out", "learning_rate", "cache", "None", "0", "buffer"),
}
HIDDEN = {
    "forward": (
        *("x, gamma, beta, eps", f"x, gamma, beta, {{{_MODE}, 'eps': eps}}", "x, gamma, beta, eps=eps"),
        *("x, gamma, beta", "x", "x, True"),
    ),
    "backward": ("dout, cache", "dout", "cache, dout"),
}
"""Usual arguments of calls whose signature does not tell what they take."""
FIRST = {"create": "features", "build": "shape", "forward": "x", "backward": "dout"}
CHOSEN = {"create": ("features", "shape", "axes"), "build": ("features", "shape"), "forward": ("x",), "backward": ()}
CALLS = 24  # spellings of one call that are tried: more would be guessing


def plain(name: str) -> str:
    """The name as the tables have it."""
    return name.lower().replace("_", "")
