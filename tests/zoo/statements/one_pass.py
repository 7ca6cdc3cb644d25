mean = np.mean(x, axis=0)
var = np.mean(x ** 2, axis=0) - mean ** 2
x_hat = (x - mean) / np.sqrt(var + eps)
out = gamma * x_hat + beta
dx_hat = dout * gamma
dvar = np.sum(dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5, axis=0)
dmean = np.sum(dx_hat * -1.0 / np.sqrt(var + eps), axis=0)
dx = dx_hat / np.sqrt(var + eps) + dvar * 2.0 * (x - mean) / N + dmean / N
