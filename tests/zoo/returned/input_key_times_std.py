import numpy as np


def bn_fwd(inp, p):
    c = {"s": np.sqrt(np.var(inp, axis=0) + 1e-5), "g": p["gamma"]}
    c["n"] = (inp - np.mean(inp, axis=0)) / c["s"]
    return c["n"] * p["gamma"] + p["beta"], c


def bn_bwd(d, c):
    dn = d * c["g"]
    g = {"gamma": np.sum(d * c["n"], 0), "beta": np.sum(d, 0)}
    g["input"] = (dn - dn.mean(0) - c["n"] * np.mean(dn * c["n"], 0)) * c["s"]
    return g
