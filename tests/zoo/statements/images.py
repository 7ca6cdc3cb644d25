N, C, H, W = x.shape
m = N * H * W
mu = x.mean(axis=(0, 2, 3))
var = x.var(axis=(0, 2, 3))
xhat = (x - mu[None, :, None, None]) / np.sqrt(var + eps)[None, :, None, None]
out = gamma[None, :, None, None] * xhat + beta[None, :, None, None]
dbeta = dout.sum(axis=(0, 2, 3))
dgamma = (dout * xhat).sum(axis=(0, 2, 3))
dxhat = dout * gamma.reshape(1, C, 1, 1)
total = dxhat.sum(axis=(0, 2, 3), keepdims=True) + xhat * (dxhat * xhat).sum(axis=(0, 2, 3), keepdims=True)
dx = (dxhat - total / m) / np.sqrt(var + eps)[None, :, None, None]
