"""Implements batch normalisation, as in an assignment. WARNING: torch.nn is not to be used."""
import torch


class BatchNorm(object):

    @staticmethod
    def forward(x, gamma, beta, bn_param):
        mode = bn_param['mode']
        eps = bn_param.get('eps', 1e-5)
        momentum = bn_param.get('momentum', 0.9)

        N, D = x.shape
        running_mean = bn_param.get('running_mean', torch.zeros(D, dtype=x.dtype, device=x.device))
        running_var = bn_param.get('running_var', torch.zeros(D, dtype=x.dtype, device=x.device))

        out, cache = None, None
        if mode == 'train':
            mu = x.mean(dim=0)
            xmu = x - mu
            var = (xmu ** 2).mean(dim=0)
            std = (var + eps).sqrt()
            xhat = xmu / std
            out = gamma * xhat + beta
            cache = (xhat, gamma, xmu, std, eps)
            running_mean = momentum * running_mean + (1 - momentum) * mu
            running_var = momentum * running_var + (1 - momentum) * var
        elif mode == 'test':
            out = gamma * (x - running_mean) / (running_var + eps).sqrt() + beta
        else:
            raise ValueError('Invalid forward batchnorm mode "%s"' % mode)

        bn_param['running_mean'] = running_mean.detach()
        bn_param['running_var'] = running_var.detach()
        return out, cache

    @staticmethod
    def backward(dout, cache):
        xhat, gamma, xmu, std, eps = cache
        N, D = dout.shape
        dbeta = dout.sum(dim=0)
        dgamma = (dout * xhat).sum(dim=0)
        dxhat = dout * gamma
        divar = (dxhat * xmu).sum(dim=0)
        dstd = -divar / std ** 2
        dvar = 0.5 * dstd / std
        dsq = dvar * torch.ones_like(dout) / N
        dxmu = dxhat / std + 2 * xmu * dsq
        dmu = -dxmu.sum(dim=0)
        dx = dxmu + dmu / N
        return dx, dgamma, dbeta

    @staticmethod
    def backward_alt(dout, cache):
        xhat, gamma, xmu, std, eps = cache
        N = dout.shape[0]
        dbeta = dout.sum(dim=0)
        dgamma = (dout * xhat).sum(dim=0)
        dx = gamma / std / N * (N * dout - dbeta - xhat * dgamma)
        return dx, dgamma, dbeta


class SpatialBatchNorm(object):

    @staticmethod
    def forward(x, gamma, beta, bn_param):
        N, C, H, W = x.shape
        out, cache = BatchNorm.forward(x.permute(0, 2, 3, 1).reshape(-1, C), gamma, beta, bn_param)
        return out.reshape(N, H, W, C).permute(0, 3, 1, 2), cache

    @staticmethod
    def backward(dout, cache):
        N, C, H, W = dout.shape
        dx, dgamma, dbeta = BatchNorm.backward_alt(dout.permute(0, 2, 3, 1).reshape(-1, C), cache)
        return dx.reshape(N, H, W, C).permute(0, 3, 1, 2), dgamma, dbeta
