# -*- coding: utf-8 -*-
import numpy as np

def batchnorm_forword(x, gamma, beta, bn_param):
    mode, eps, momentum = bn_param['mode'], bn_param.get('eps', 1e-5), bn_param.get('momentum', 0.9)
    _, D = x.shape
    run_mean = bn_param.get('running_mean', np.zeros(D))
    run_var = bn_param.get('running_var', np.zeros(D))
    if mode == 'train':
        m = np.mean(x, axis=0); v = np.var(x, axis=0)
        xh = (x - m) / np.sqrt(v + eps)
        y = gamma * xh + beta
        bn_param['running_mean'] = momentum * run_mean + (1 - momentum) * m
        bn_param['running_var'] = momentum * run_var + (1 - momentum) * v
        return y, (x, xh, gamma, m, v, eps)
    y = gamma * (x - run_mean) / np.sqrt(run_var + eps) + beta
    return y, None

def batchnorm_backword(dy, cache):
    x, xh, gamma, m, v, eps = cache
    n = x.shape[0]
    db = np.sum(dy, 0)
    dg = np.sum(xh * dy, 0)
    dxh = dy * gamma
    dx = (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / np.sqrt(v + eps)
    return dx, dg, db
