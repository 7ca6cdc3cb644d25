"""The catalogue of known faults: the factors on terms, in a table, and those that are more than that."""

from __future__ import annotations

from collections.abc import Mapping

from bncheck.faults.fault import COMPOUND, STRUCTURAL, Fault, on

FACTORED: tuple[Fault, ...] = (
    *on(
        "dbeta",
        ("dbeta-averaged", "1/n", "a mean over the batch where a sum belongs", True),
        ("dbeta-times-n", "n", "n times the sum, or a mean's 1/n undone twice", True),
        ("dbeta-missing", "0", "it is never assigned, or is left at zero"),
        ("dbeta-sign", "-1", "an update that subtracts it was taken for the gradient"),
        ("dbeta-of-dx-hat", "gamma", "dx_hat is summed in place of dout"),
        ("dbeta-over-std", "1/std", "dout / std is summed in place of dout"),
        ("dbeta-by-samples", "1/N", "a mean over the images of the batch where a sum belongs", True),
    ),
    *on(
        "dgamma",
        ("dgamma-averaged", "1/n", "a mean over the batch where a sum belongs", True),
        ("dgamma-times-n", "n", "n times the sum, or a mean's 1/n undone twice", True),
        ("dgamma-missing", "0", "it is never assigned, or is left at zero"),
        ("dgamma-sign", "-1", "mean - x for x - mean, or an update that subtracts it was taken for the gradient"),
        ("dgamma-of-dx-hat", "gamma", "dx_hat is multiplied by x_hat in place of dout"),
        ("dgamma-on-centred", "std", "x - mean stands where x_hat belongs"),
        ("dgamma-std-twice", "1/std", "x_hat is divided by std once more, or x - mean by var"),
        ("dgamma-eps-left-out", "sigma/sqrt(var)", "x_hat is made anew with sqrt(var)"),
        ("dgamma-eps-twice", "sigma/sqrt(var + 2 eps)", "x_hat is made anew of a variance that has its eps already"),
        ("dgamma-by-samples", "1/N", "a mean over the images of the batch where a sum belongs", True),
    ),
    *on(
        "dx_hat",
        ("no-gamma", "1/gamma", "dout is used as it comes", True),
        ("gamma-twice", "gamma", "dout is multiplied by gamma, and what is made of it once more", True),
        ("gamma-divides", "1/gamma^2", "dout / gamma stands where dout * gamma belongs"),
        ("beta-for-gamma", "beta/gamma", "dout * beta stands where dout * gamma belongs"),
        ("dx-hat-missing", "0", "nothing comes back through x_hat"),
        ("dx-hat-sign", "-1", "-dout stands where dout belongs"),
        ("dx-hat-averaged", "1/n", "a loss that is a mean is divided by n here once more"),
    ),
    *on(
        "dvar",
        ("dvar-sign", "-1", "+1/2 stands where -1/2 belongs", True),
        ("dvar-missing", "0", "dvar is never made, or is zero", True),
        ("dvar-half-forgotten", "2", "-1 stands where -1/2 belongs", True),
        ("dvar-half-twice", "1/2", "the 1/2 of the root is taken twice"),
        ("dvar-minus-one-forgotten", "-2", "1 stands where -1/2 belongs"),
        ("dvar-power-1/2", "std^2", "(var + eps)^(-1/2) stands where (var + eps)^(-3/2) belongs", True),
        ("dvar-power-1", "std", "(var + eps)^(-1) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-2", "1/std", "(var + eps)^(-2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-5/2", "1/std^2", "(var + eps)^(-5/2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-power-sign", "std^6", "(var + eps)^(3/2) stands where (var + eps)^(-3/2) belongs"),
        ("dvar-x-hat", "1/std", "x_hat stands where x - mean belongs in dvar", True),
        ("dvar-averaged", "1/n", "a mean over the batch where a sum belongs"),
        ("dvar-times-n", "n", "n times the sum"),
        ("dvar-no-gamma", "1/gamma", "dout stands where dx_hat belongs"),
        ("dvar-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("dvar-eps-left-out", "(sigma/sqrt(var))^3", "var^(-3/2) stands where (var + eps)^(-3/2) belongs", True),
        ("dvar-eps-twice", "(sigma/sqrt(var + 2 eps))^3", "eps is added to a variance that has it already"),
        ("dvar-eps-constant", "(sigma/sqrt(var + 1e-5))^3", "1e-5 stands where eps belongs"),
        ("dvar-eps-at-std", "(sigma/(sigma + eps))^3", "(std + eps)^3 stands where std^3 belongs", True),
    ),
    *on(
        "dmean",
        ("dmean-sign", "-1", "+1/std stands where -1/std belongs", True),
        ("dmean-missing", "0", "dmean is never made, or is zero", True),
        ("dmean-std-forgotten", "std", "-1 stands where -1/std belongs"),
        ("dmean-std-for-inverse", "std^2", "-std stands where -1/std belongs"),
        ("dmean-var-for-std", "1/std", "-1/(var + eps) stands where -1/std belongs"),
        ("dmean-averaged", "1/n", "a mean over the batch where a sum belongs"),
        ("dmean-twice", "2", "dmean is added to itself"),
        ("dmean-no-gamma", "1/gamma", "dout stands where dx_hat belongs"),
        ("dmean-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("dmean-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs"),
        ("dmean-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
    ),
    *on(
        "direct",
        ("no-direct-route", "0", "dx_hat / std is not added"),
        ("direct-sign", "-1", "it is subtracted where it is to be added"),
        ("direct-averaged", "1/n", "the 1/n of the other routes is taken here as well"),
        ("direct-std-forgotten", "std", "dx_hat is not divided by std"),
        ("direct-std-for-inverse", "std^2", "dx_hat is multiplied by std where it is to be divided"),
        ("direct-var-for-std", "1/std", "dx_hat is divided by var + eps where std belongs"),
        ("direct-no-gamma", "1/gamma", "dout / std stands where dx_hat / std belongs"),
        ("direct-gamma-twice", "gamma", "dx_hat is multiplied by gamma once more"),
        ("direct-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs"),
        ("direct-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
    ),
    *on(
        "through var",
        ("no-var-route", "0", "dvar * 2 (x - mean) / n is not added", True),
        ("var-route-sign", "-1", "mean - x stands where x - mean belongs, or it is subtracted", True),
        ("half-var-route", "1/2", "the 2 of 2 (x - mean) / n is forgotten", True),
        ("double-var-route", "2", "the 2 of 2 (x - mean) / n is taken twice"),
        ("var-route-without-n", "n", "the 1/n of 2 (x - mean) / n is forgotten"),
        ("var-route-n-twice", "1/n", "the 1/n of 2 (x - mean) / n is taken twice"),
        ("var-route-unbiased", "n/(n-1)", "n - 1 stands where n belongs"),
        ("var-route-biased", "(n-1)/n", "n stands where the forward has n - 1", True),
        ("var-route-x-hat", "1/std", "x_hat stands where x - mean belongs in dx", True),
        ("var-route-features-for-n", "n/d", "the number of features stands where n belongs"),
        ("var-route-samples-for-n", "n/N", "the number of images stands where n belongs", True),
    ),
    *on(
        "through mean",
        ("no-mean-route", "0", "dmean / n is not added", True),
        ("mean-route-sign", "-1", "it is subtracted where it is to be added", True),
        ("mean-route-without-n", "n", "the 1/n of dmean / n is forgotten", True),
        ("mean-route-n-twice", "1/n", "the 1/n of dmean / n is taken twice"),
        ("mean-route-unbiased", "n/(n-1)", "n - 1 stands where n belongs"),
        ("mean-route-features-for-n", "n/d", "the number of features stands where n belongs"),
        ("mean-route-samples-for-n", "n/N", "the number of images stands where n belongs", True),
    ),
    *on(
        "batch",
        ("n-forgotten", "n", "the 1/n of the closed form is forgotten", True),
        ("features-for-n", "n/d", "the number of features stands where n belongs", True),
        ("samples-for-n", "n/N", "the number of images stands where n belongs, the sums being over all of them", True),
        ("batch-sign", "-1", "what comes back through mean and var is added where it is to be subtracted"),
    ),
    *on(
        "dx",
        ("dx-times-n", "n", "the 1/n in front of the closed form is forgotten"),
        ("dx-averaged", "1/n", "the 1/n in front of the closed form is taken twice", True),
        ("dx-sign", "-1", "an update that subtracts it was taken for the gradient"),
        ("dx-missing", "0", "it is never assigned, or is left at zero"),
        ("dx-std-forgotten", "std", "the 1/std in front of the closed form is forgotten"),
        ("dx-std-for-inverse", "std^2", "the closed form is multiplied by std where it is to be divided", True),
        ("dx-var-for-std", "1/std", "1/(var + eps) stands where 1/std belongs in front of the closed form"),
        ("dx-eps-left-out", "sigma/sqrt(var)", "sqrt(var) stands where std belongs in front of the closed form", True),
        ("dx-eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already"),
        ("dx-eps-constant", "sigma/sqrt(var + 1e-5)", "1e-5 stands where eps belongs in front of the closed form"),
        ("dx-running-var", "sigma/running sigma", "std is made anew of the running variance", True),
    ),
    *on(
        "1/std",
        ("std-inverse", "std^2", "the cached std is used as 1/std", True),
        ("no-eps", "sigma/sqrt(var)", "sqrt(var) stands where std belongs, all through the backward", True),
        ("eps-twice", "sigma/sqrt(var + 2 eps)", "eps is added to a variance that has it already", True),
        ("eps-constant", "sigma/sqrt(var + 1e-5)", "1e-5 stands where eps belongs, all through the backward"),
        ("eps-at-std", "sigma/(sigma + eps)", "std + eps stands where std belongs, all through the backward"),
    ),
)

FAULTS = (*FACTORED, *COMPOUND)
"""The faults in formulas, which show in every row and at any shape."""

KNOWN = (*FAULTS, *STRUCTURAL)
"""The whole catalogue."""

BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in KNOWN}
"""Every fault by its name."""
