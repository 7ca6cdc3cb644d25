mu = np.mean(x, axis=(0, 2, 3), keepdims=True)
xc = x - mu
var = np.mean(xc * xc, axis=(0, 2, 3), keepdims=True)
istd = 1 / np.sqrt(var + eps)
out = gamma * (xc * istd) + beta
n = x.size / x.shape[1]
dgamma = np.sum(dout * xc * istd, axis=(0, 2, 3), keepdims=True)
dbeta = np.sum(dout, axis=(0, 2, 3), keepdims=True)
distd = np.sum(dout * gamma * xc, axis=(0, 2, 3), keepdims=True)
dvar = -0.5 * distd * istd ** 3
dxc = dout * gamma * istd
dxc += dvar * 2 * xc / n
dmu = -np.sum(dxc, axis=(0, 2, 3), keepdims=True)
dx = dxc + dmu / n
