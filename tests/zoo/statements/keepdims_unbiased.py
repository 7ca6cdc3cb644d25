m = x.shape[0]
mu = x.sum(0, keepdims=True) / m
var = np.sum((x - mu) ** 2, axis=0, keepdims=True) / (m - 1)
x_norm = (x - mu) / np.sqrt(var + 1e-8)
out = gamma * x_norm + beta
dgamma = np.sum(dout * x_norm, axis=0, keepdims=True)
dbeta = np.sum(dout, axis=0, keepdims=True)
dx_norm = dout * gamma
dvar = np.sum(dx_norm * (x - mu) * -0.5 * (var + 1e-8) ** -1.5, axis=0, keepdims=True)
dmu = np.sum(dx_norm * -1 / np.sqrt(var + 1e-8), axis=0, keepdims=True)
dx = dx_norm / np.sqrt(var + 1e-8) + dvar * 2 * (x - mu) / (m - 1) + dmu / m
