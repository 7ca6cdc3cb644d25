std = np.sqrt(var) + eps
x_hat = (x - mean) / std
out = gamma * x_hat + beta
dx_hat = dout * gamma
dstd = np.sum(dx_hat * (x - mean), axis=0) * -1 / std ** 2
dvar = dstd * 0.5 / np.sqrt(var)
dmean = np.sum(-dx_hat / std, axis=0)
dx = dx_hat / std + dvar * 2 * (x - mean) / N + dmean / N
