import numpy as np

STATE = {"gamma": None, "beta": None, "dgamma": None, "dbeta": None}


def setup(dim):
    STATE["gamma"] = np.ones(dim)
    STATE["beta"] = np.zeros(dim)


def batch_norm_forward(x):
    STATE["sd"] = np.sqrt(x.var(0) + 1e-5)
    STATE["xh"] = (x - x.mean(0)) / STATE["sd"]
    return STATE["gamma"] * STATE["xh"] + STATE["beta"]


def batch_norm_backward(dout):
    STATE["dgamma"] = (dout * STATE["xh"]).sum(0)
    STATE["dbeta"] = dout.sum(0)
    d = dout * STATE["gamma"]
    return (d - d.mean(0) - STATE["xh"] * (d * STATE["xh"]).mean(0)) / STATE["sd"]
