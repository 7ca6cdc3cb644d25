dx_hat = dout * gamma
dvar = np.sum(dx_hat * (x - mean) * 0.5 * (var + eps) ** -1.5, axis=0)
dmean = np.sum(-dx_hat / np.sqrt(var + eps), axis=0)
dx = dx_hat / np.sqrt(var + eps) + dvar * 2.0 * (x - mean) / N + dmean / N
