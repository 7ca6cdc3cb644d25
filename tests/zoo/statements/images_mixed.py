# gamma has one axis, and the statistics have kept theirs.
N, C, H, W = dout.shape
m = N * H * W
dbeta = np.sum(dout, axis=(0, 2, 3))
dgamma = np.sum(dout * x_hat, axis=(0, 2, 3))
gamma = gamma.reshape(1, C, 1, 1)
dxhat = dout * gamma
dx = (dxhat - dxhat.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(var + eps)
dx -= x_hat * (dxhat * x_hat).mean(axis=(0, 2, 3), keepdims=True) * ivar
