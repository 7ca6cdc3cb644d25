from functools import partial

import jax.numpy as jnp
from jax import custom_vjp


@partial(custom_vjp, nondiff_argnums=(3,))
def batchnorm(x, scale, bias, epsilon):
    out, _ = batchnorm_fwd(x, scale, bias, epsilon)
    return out


def batchnorm_fwd(x, scale, bias, epsilon):
    mean = x.mean(0)
    centered = x - mean
    var = (centered**2).mean(0)
    rstd = 1.0 / jnp.sqrt(var + epsilon)
    return centered * rstd * scale + bias, (centered, rstd, scale)


def batchnorm_bwd(epsilon, saved, dy):
    centered, rstd, scale = saved
    n = dy.shape[0]
    normed = centered * rstd
    d_bias = dy.sum(0)
    d_scale = (dy * normed).sum(0)
    dn = dy * scale
    d_var = (dn * centered).sum(0) * -0.5 * rstd**3
    d_mean = -(dn * rstd).sum(0)
    d_x = dn * rstd + d_var * 2 * centered / n + d_mean / n
    return d_x, d_scale, d_bias


batchnorm.defvjp(batchnorm_fwd, batchnorm_bwd)
