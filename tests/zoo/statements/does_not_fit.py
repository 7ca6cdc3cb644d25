dx_hat = dout * gamma
dmean = np.sum(-dx_hat / np.sqrt(var + eps), axis=1)
dvar = np.sum(dx_hat * (x - mean)) * dbeta.reshape(3, 3)
dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
